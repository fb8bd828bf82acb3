package batch_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"telltale.dev/agent/batch"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
)

// busyStore refuses until a time.
type busyStore struct {
	*buffer.Buffer
	until time.Time
}

var errBusy = errors.New("the disk is full")

func (s *busyStore) Commit(sealed, open []buffer.Record, p buffer.Progress) error {
	if time.Now().Before(s.until) {
		return errBusy
	}
	return s.Buffer.Commit(sealed, open, p)
}

// TestGrace: after the end the last commit is tried again as long as is allowed, and no longer.
func TestGrace(t *testing.T) {
	for name, c := range map[string]struct {
		grace, busy time.Duration
		want        error
	}{
		"room in time":  {grace: 10 * time.Second, busy: 300 * time.Millisecond},
		"room too late": {grace: 300 * time.Millisecond, busy: time.Hour, want: errBusy},
		"no grace":      {busy: time.Hour, want: errBusy},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := buffer.Open(buffer.Config{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			s := batch.New(batch.Config{
				Vehicle: "car", Device: "tcu", Boot: protocol.BootID{1}, Store: &busyStore{b, time.Now().Add(c.busy)}, Grace: c.grace,
				Release: func(*collect.Block) {}, Log: slog.New(slog.DiscardHandler),
			})
			add(t, s, noise([]*collect.Capture{captureOf("r", 3, protocol.CS1, time.Hour)}, 5, 3, start))
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			began := time.Now()
			if err := s.Finish(ended); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if took := time.Since(began); c.want != nil && took > c.grace+5*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := b.Stats().Waiting.Samples; (got > 0) != (c.want == nil) {
				t.Errorf("got %d samples on disk", got)
			}
		})
	}
}
