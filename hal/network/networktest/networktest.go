// Package networktest is the suite that every driver of network.Monitor passes,
// and a fake. It knows no driver.
package networktest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"telltale.dev/hal/network"
)

// Fake is a link in memory. Its zero value tells an Ethernet link.
type Fake struct {
	mu      sync.Mutex // guards all below
	state   network.State
	changed chan struct{} // closed at the next change; nil: nobody waits
}

var _ network.Monitor = (*Fake)(nil)

// Set changes the link.
func (f *Fake) Set(s network.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// Next implements network.Monitor.
func (f *Fake) Next(ctx context.Context, last network.State) (network.State, error) {
	for {
		f.mu.Lock()
		state := f.state
		if f.changed == nil {
			f.changed = make(chan struct{})
		}
		changed := f.changed
		f.mu.Unlock()
		if ctx.Err() != nil {
			return network.State{}, ctx.Err()
		}
		if state.Type == network.Unknown {
			state.Type = network.Ethernet
		}
		if state != last {
			return state, nil
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// Open gives a monitor of an Ethernet link, and a function that makes the link
// cellular and metered, or Ethernet again. It cleans up by t.Cleanup.
type Open func(t *testing.T) (m network.Monitor, cellular func(bool))

// patience bounds every wait of the suite.
const patience = 10 * time.Second

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Run("changes", func(t *testing.T) {
		m, cellular := open(t)
		state := next(t, m, network.State{})
		if state.Type != network.Ethernet || state.Metered || state.Roaming {
			t.Fatalf("got %+v, want Ethernet", state)
		}
		time.AfterFunc(50*time.Millisecond, func() { cellular(true) })
		state = next(t, m, state)
		if state.Type != network.Cellular || !state.Metered {
			t.Errorf("got %+v, want a metered cellular link", state)
		}
		cellular(false) // while nobody waits
		if state = next(t, m, state); state.Type != network.Ethernet || state.Metered {
			t.Errorf("got %+v, want Ethernet", state)
		}
	})
	t.Run("context", func(t *testing.T) {
		m, _ := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := m.Next(ctx, network.State{}); !errors.Is(err, context.Canceled) {
			t.Errorf("ended context: got %+v, %v", got, err)
		}
		state := next(t, m, network.State{})
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		if got, err := m.Next(ctx, state); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
			t.Errorf("nothing changed: got %+v, %v after %v", got, err, time.Since(began))
		}
	})
}

func next(t *testing.T, m network.Monitor, last network.State) network.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	state, err := m.Next(ctx, last)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return state
}
