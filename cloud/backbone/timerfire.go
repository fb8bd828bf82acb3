package backbone

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// firingAtOnce is how many owners' timers of a kind fire at the same time.
	firingAtOnce = 64
	// timerTick is how often the clock is looked at when nothing is due, since it may have been set.
	timerTick = 250 * time.Millisecond
)

// Run calls fire for each timer of the kind that is due, until ctx ends; it returns nil when all handlers have
// returned. The timer is done when fire returns nil. Else it is tried again after a second, then after twice as long each time,
// up to a minute, for ever.
//
// A timer is due when the clock of this machine shows At, or when it has waited for At - Made since it was scheduled,
// or since this process started: whichever is first. So it fires within 0.25 s when the clock is set forward past At, and
// a clock that is set back does not hold it. Timers of one owner fire one after the other, the earliest first; those of 64 owners
// at the same time. An owner whose handler hangs holds its own timers and one of these places.
//
// fire owns the payload. A kind has one Run at a time; without it, its timers wait.
func (t *Timers) Run(ctx context.Context, fire func(context.Context, Timer) error) error {
	if err := t.claim(); err != nil {
		return err
	}
	defer t.unclaim()
	var handlers sync.WaitGroup
	defer handlers.Wait()
	places := make(chan struct{}, firingAtOnce)
	wake := t.wake()
	settling, stop := context.WithCancel(ctx)
	defer stop()
	handlers.Go(func() { t.settleRegularly(settling) })
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		case <-t.owner.closed:
			return ErrClosed
		}
		e, wait := t.book.take(t.kind)
		if e != nil && ctx.Err() == nil {
			handlers.Go(func() {
				defer func() { <-places }()
				t.fire(ctx, e, fire)
			})
			continue
		}
		<-places
		if e != nil {
			t.putBack(e, 0)
		}
		select {
		case <-wake:
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		case <-t.owner.closed:
			return ErrClosed
		}
	}
}

// claim makes sure of one Run.
func (t *Timers) claim() error {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	q := t.book.queue(t.kind)
	if q.running {
		return fmt.Errorf("timers of kind %s are running already: %w", t.kind, ErrBusy)
	}
	q.running = true
	return nil
}

func (t *Timers) unclaim() {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	t.book.queue(t.kind).running = false
}

func (t *Timers) wake() chan struct{} {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	return t.book.queue(t.kind).wake
}

// fire calls the handler, unless that was done before or another timer has taken the place of this one, and deletes the record.
func (t *Timers) fire(ctx context.Context, e *timerEntry, do func(context.Context, Timer) error) {
	t.book.mu.Lock()
	timer, handled := e.Timer, e.state != firing
	t.book.mu.Unlock()
	if !handled {
		timer.Payload = bytes.Clone(timer.Payload)
		if err := do(ctx, timer); err != nil {
			t.failed(ctx, e, err)
			return
		}
		t.owner.stats.fired.Add(1)
	}
	t.finish(ctx, e)
}

// failed lets a timer wait for its next try, unless another one has taken its place.
func (t *Timers) failed(ctx context.Context, e *timerEntry, why error) {
	if ctx.Err() != nil {
		t.putBack(e, 0)
		return
	}
	t.owner.stats.fireFailed.Add(1)
	t.book.mu.Lock()
	gone := e.state == replaced
	e.tries++
	tries := e.tries
	t.book.mu.Unlock()
	if gone {
		t.finish(ctx, e)
		return
	}
	if tries == 1 {
		t.owner.log.Warn("the handler of a timer failed, it is called again", "kind", t.kind, "reason", why)
	}
	t.putBack(e, retryWait(tries))
}

// finish deletes the record of a timer whose handler is through; what cannot be deleted is tried again.
func (t *Timers) finish(ctx context.Context, e *timerEntry) {
	t.book.mu.Lock()
	e.state = fired
	sequences := slices.Concat(e.older, []uint64{e.seq})
	t.book.mu.Unlock()
	if err := t.book.deleteRecords(context.WithoutCancel(ctx), sequences); err != nil {
		t.putBack(e, time.Second)
		return
	}
	t.book.mu.Lock()
	t.book.forget(e)
	t.book.mu.Unlock()
	t.book.release(e)
}

// putBack queues a timer again, not before wait, and lets its owner's next one fire.
func (t *Timers) putBack(e *timerEntry, wait time.Duration) {
	t.book.mu.Lock()
	if e.state == firing {
		e.state = waiting
	}
	e.notBefore = t.book.clock.elapsed() + wait
	t.book.put(e)
	t.book.mu.Unlock()
	t.book.release(e)
}
