package registry

import (
	"context"
	"errors"
	"time"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/topics"
)

// Losses is a room: it takes what devices say of their data partitions, and tells who watches. Every field is required;
// Ground.Store and Ground.Known are not used.
type Losses struct {
	Registry *Registry
	Ground   backbone.Ground
}

// StorageEvent is a device's word on its data partition, lost or there again, as a live event.
type StorageEvent struct {
	Time    time.Time `json:"time"`
	Device  string    `json:"did"`
	Storage string    `json:"storage" enum:"kept,recreated,memory-only"`
	Reason  string    `json:"reason,omitempty"`
}

// Events is an ability of rooms.
func (l *Losses) Events() map[string]any { return map[string]any{"storage": StorageEvent{}} }

// Takes is an ability of rooms.
func (l *Losses) Takes() []backbone.Intake {
	return []backbone.Intake{backbone.Takes(topics.Event, events.TypeStorage, l.take)}
}

func (l *Losses) take(ctx context.Context, from backbone.Origin, word events.Storage) error {
	changed, err := l.Registry.Storage(ctx, from.Vehicle, word, from.Received)
	switch {
	case errors.Is(err, ErrUnknown):
		l.Ground.Log.Warn("storage event of a device that is not registered", "err", err)
		return nil
	case err != nil:
		return err
	case changed:
		l.Ground.Tell(from.Vehicle, "storage", StorageEvent{
			Time: from.Received.UTC(), Device: string(word.Device), Storage: string(word.State), Reason: word.Reason,
		})
	}
	return nil
}
