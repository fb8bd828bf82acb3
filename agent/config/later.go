package config

import (
	"crypto/sha256"

	"telltale.dev/protocol/topics"
)

// later is a document that may be good, but could not be kept or put in force.
type later struct {
	topic   topics.Topic
	payload []byte
}

// Retry tries the newest document again when this vehicle could not do it, as on a full
// disk. That it was not applied has been reported; only a success is reported again.
// It is to be called now and then.
func (k *Keeper) Retry() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.later == nil {
		return
	}
	results, err := k.applyCampaigns(k.later.payload)
	if err != nil {
		return
	}
	name := k.later.topic.Name
	k.cfg.Log.Info("document is applied now", "document", name)
	if err := k.answers.give(k.withRunning(results), k.unreported); err != nil {
		k.cfg.Log.Error("document handled but not reported", "document", name, "error", err)
		return // it is handled, and reported on, again
	}
	k.reported, k.later = sha256.Sum256(k.later.payload), nil
}
