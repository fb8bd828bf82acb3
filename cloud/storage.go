package cloud

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/registry"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/topics"
)

// losses gives the registry what devices say of their data partitions, and tells who watches.
type losses struct {
	registry *registry.Registry
	live     *api.Live
	log      *slog.Logger
}

// Takes is an ability of rooms.
func (l *losses) Takes() []backbone.Intake {
	return []backbone.Intake{backbone.Takes(topics.Event, events.TypeStorage, l.take)}
}

func (l *losses) take(ctx context.Context, from backbone.Origin, word events.Storage) error {
	changed, err := l.registry.Storage(ctx, from.Vehicle, word, from.Received)
	switch {
	case errors.Is(err, registry.ErrUnknown):
		l.log.Warn("storage event of a device that is not registered", "err", err)
		return nil
	case err != nil:
		return err
	case changed:
		l.live.Publish(string(from.Vehicle), "storage", api.StorageEvent{
			Time: from.Received.UTC(), Device: string(word.Device), Storage: string(word.State), Reason: word.Reason,
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
