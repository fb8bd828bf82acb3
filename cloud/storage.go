package cloud

import (
	"context"
	"errors"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/registry"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/events"
)

// storage keeps a device's word on its data partition, and tells who watches.
func (s statusSink) storage(ctx context.Context, m *ingest.Other) error {
	var word events.Storage
	err := document.UnmarshalOpen(m.Payload, &word)
	if err == nil {
		err = word.Validate()
	}
	if err == nil && word.Device != m.Device {
		err = errors.New("it names another device than the certificate")
	}
	if err != nil {
		if s.unreadable.Add(1) == 1 {
			s.cfg.Log.Warn("a storage event is unreadable, more are only counted", "err", err)
		}
		return nil // it will never be better
	}
	changed, err := s.registry.Storage(ctx, m.Topic.Vehicle, word, m.Received)
	switch {
	case errors.Is(err, registry.ErrUnknown):
		s.cfg.Log.Warn("storage event of a device that is not registered", "err", err)
		return nil
	case err != nil:
		return err
	case changed:
		s.live.PublishStorage(string(m.Topic.Vehicle), api.StorageEvent{
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
