package powertest

import (
	"context"
	"sync"
	"time"

	"telltale.dev/hal/power"
)

// Fake is a supply, an alarm and a machine that sleeps, in memory. Time is the
// caller's, so that it works in a synctest bubble. Make it with NewFake.
type Fake struct {
	mu      sync.Mutex // guards all below
	state   power.State
	changed chan struct{} // closed at the next change
	armed   power.Wake
	sleeps  int
	roused  chan struct{} // closed when the machine wakes; nil while it is awake
	failure error         // of Suspend
}

var (
	_ power.Supply  = (*Fake)(nil)
	_ power.Waker   = (*Fake)(nil)
	_ power.Sleeper = (*Fake)(nil)
)

// NewFake makes one whose ignition is in the given position.
func NewFake(i power.Ignition) *Fake {
	return &Fake{state: power.State{Ignition: i}, changed: make(chan struct{})}
}

// Set changes what the supply tells. Turning the ignition on wakes a sleeping machine.
func (f *Fake) Set(i power.Ignition, notice time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = power.State{Ignition: i}
	if notice > 0 {
		f.state.Ends = time.Now().Add(notice)
	}
	close(f.changed)
	f.changed = make(chan struct{})
	if i == power.On {
		f.rouse()
	}
}

// Message is one to the modem; it wakes the machine when that was armed.
func (f *Fake) Message() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed.Modem {
		f.rouse()
	}
}

// FailSuspend makes Suspend fail from now on; nil: no more.
func (f *Fake) FailSuspend(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
}

// rouse ends the machine's sleep; under mu.
func (f *Fake) rouse() {
	if f.roused != nil {
		close(f.roused)
		f.roused = nil
	}
}

// Next implements power.Supply.
func (f *Fake) Next(ctx context.Context, last power.State) (power.State, error) {
	for {
		f.mu.Lock()
		state, changed := f.state, f.changed
		f.mu.Unlock()
		if ctx.Err() != nil {
			return power.State{}, ctx.Err()
		}
		if !state.Equal(last) {
			return state, nil
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// Close implements power.Supply.
func (f *Fake) Close() error { return nil }

// Arm implements power.Waker.
func (f *Fake) Arm(w power.Wake) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = w
	return nil
}

// Suspend implements power.Sleeper: it waits for the alarm, a message or the ignition.
func (f *Fake) Suspend() error {
	f.mu.Lock()
	if f.failure != nil {
		defer f.mu.Unlock()
		return f.failure
	}
	f.sleeps++
	roused := make(chan struct{})
	f.roused = roused
	if at := f.armed.At; !at.IsZero() {
		alarm := time.AfterFunc(time.Until(at), func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.roused == roused {
				f.rouse()
			}
		})
		defer alarm.Stop()
	}
	f.mu.Unlock()
	<-roused
	return nil
}

// Armed is what shall wake the machine.
func (f *Fake) Armed() power.Wake {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.armed
}

// Sleeps is how often the machine has been put to sleep.
func (f *Fake) Sleeps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sleeps
}
