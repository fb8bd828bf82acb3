package ingest

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
)

// nowhere takes checkpoints and keeps none.
type nowhere struct{}

func (nowhere) Put(ctx context.Context, _ string, _ []byte) error { return ctx.Err() }

func (nowhere) List(context.Context) (map[string][]byte, error) { return nil, nil }

// TestSaveHangs: a consumer whose Save hangs takes no time from the others', and is heard of.
func TestSaveHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Processor{cfg: ProcessorConfig{Name: "UP", Checkpoints: nowhere{}, Log: slog.New(slog.DiscardHandler)}}
		p.position.read = 1
		hangs := newConsumer(p, Consumer{Name: "ill", Save: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		next := newConsumer(p, Consumer{Name: "well", Save: func(ctx context.Context) error { return ctx.Err() }})
		p.consumers = []*consumer{hangs, next}
		for _, c := range p.consumers {
			c.unsaved.Add(one(1))
		}
		p.keep(t.Context())
		if got := next.durable.Load(); got != 1 || !next.unsaved.Empty() {
			t.Errorf("the other consumer is durable up to %d, want 1", got)
		}
		if p.saving.times.Load() != 1 || hangs.durable.Load() != 0 {
			t.Errorf("the consumer that hangs: got durable up to %d, want 0, and a warning", hangs.durable.Load())
		}
	})
}
