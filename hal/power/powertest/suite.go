// Package powertest is the suite that every driver of power.Supply passes, and a
// fake of all of package power. It knows no driver.
package powertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"telltale.dev/hal/power"
)

// Open gives a supply whose ignition is off, and a function that changes what it
// tells; a notice is how long power lasts, zero: no notice. It cleans up by t.Cleanup.
type Open func(t *testing.T) (supply power.Supply, set func(ignition power.Ignition, notice time.Duration))

// patience bounds every wait of the suite; quick is how soon a change is to be told.
const (
	patience = 10 * time.Second
	quick    = 700 * time.Millisecond
)

// Run runs the suite. notice is false for a supply that gives no notice of a shutdown.
func Run(t *testing.T, notice bool, open Open) {
	t.Run("present state at once", func(t *testing.T) { present(t, open) })
	t.Run("changes", func(t *testing.T) { changes(t, open) })
	t.Run("unchanged", func(t *testing.T) { unchanged(t, open) })
	t.Run("context", func(t *testing.T) { contextEnds(t, open) })
	if notice {
		t.Run("notice", func(t *testing.T) { notices(t, open) })
	}
}

// next is Next with patience.
func next(t *testing.T, s power.Supply, last power.State) power.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	state, err := s.Next(ctx, last)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return state
}

func present(t *testing.T, open Open) {
	s, _ := open(t)
	if got := next(t, s, power.State{}); got.Ignition != power.Off || !got.Ends.IsZero() {
		t.Errorf("got %+v, want the ignition off", got)
	}
}

func changes(t *testing.T, open Open) {
	s, set := open(t)
	last := next(t, s, power.State{})
	for range 3 {
		for _, want := range []power.Ignition{power.On, power.Off} {
			changed := make(chan time.Time, 1)
			go func() {
				time.Sleep(20 * time.Millisecond) // while Next waits
				changed <- time.Now()
				set(want, 0)
			}()
			got := next(t, s, last)
			if took := time.Since(<-changed); got.Ignition != want || took > quick {
				t.Fatalf("got %v after %v, want %v within %v", got.Ignition, took, want, quick)
			}
			last = got
		}
	}
	// A change while nobody waits is told by the next call.
	set(power.On, 0)
	if got := next(t, s, last); got.Ignition != power.On {
		t.Errorf("got %v, want on", got.Ignition)
	}
}

func unchanged(t *testing.T, open Open) {
	s, set := open(t)
	last := next(t, s, power.State{})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	set(power.Off, 0)
	if got, err := s.Next(ctx, last); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v, %v though nothing changed, want the context's error", got, err)
	}
}

func contextEnds(t *testing.T, open Open) {
	s, set := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := s.Next(ctx, power.State{}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: got %+v, %v", got, err)
	}
	last := next(t, s, power.State{})
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	if _, err := s.Next(ctx, last); !errors.Is(err, context.Canceled) || time.Since(began) > quick {
		t.Errorf("context ends during Next: got %v after %v", err, time.Since(began))
	}
	set(power.On, 0)
	if got := next(t, s, last); got.Ignition != power.On {
		t.Errorf("after a context: got %v, want on", got.Ignition)
	}
}

func notices(t *testing.T, open Open) {
	s, set := open(t)
	last := next(t, s, power.State{})
	want := time.Now().Add(30 * time.Second)
	set(power.Off, 30*time.Second)
	got := next(t, s, last)
	if got.Ignition != power.Off || got.Ends.Sub(want).Abs() > 2*time.Second {
		t.Fatalf("got %+v, want power to end at %v", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if moved, err := s.Next(ctx, got); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v, %v, want no change while the notice stands", moved, err)
	}
	set(power.On, 0)
	if got := next(t, s, got); got.Ignition != power.On || !got.Ends.IsZero() {
		t.Errorf("got %+v, want on and the notice gone", got)
	}
}
