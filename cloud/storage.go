package cloud

import (
	"context"
	"errors"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/registry"
	"telltale.dev/protocol/events"
)

// storageEvent keeps a device's word on its data partition, and tells who watches.
func (c *Cloud) storageEvent(ctx context.Context, m *ingest.Other) error {
	var word events.Storage
	err := c.document(m, &word, func() error { return errors.Join(word.Validate(), ownDevice(m, word.Device)) })
	if err != nil {
		return err
	}
	changed, err := c.registry.Storage(ctx, m.Topic.Vehicle, word, m.Received)
	switch {
	case errors.Is(err, registry.ErrUnknown):
		c.cfg.Log.Warn("storage event of a device that is not registered", "err", err)
		return nil
	case err != nil:
		return err
	case changed:
		c.live.PublishStorage(string(m.Topic.Vehicle), api.StorageEvent{
			Time: m.Received.UTC(), Device: string(word.Device), Storage: string(word.State), Reason: word.Reason,
		})
	}
	return nil
}

// loss shows what a device lost last; nil for nothing.
func loss(l *registry.Loss) *api.Loss {
	if l == nil {
		return nil
	}
	shown := &api.Loss{Storage: string(l.State), Reason: l.Reason, Told: l.Told}
	if !l.Over.IsZero() {
		shown.Over = new(time.Time)
		*shown.Over = l.Over
	}
	return shown
}
