package backbone

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Cancel deletes a timer from disk. After nil it does not fire. The error wraps ErrNotFound when there is none, and
// ErrFired when it is too late: its handler runs, or ran already. After another error the timer may fire; ErrUnknown
// says that Schedule gave that before, and that it is too early to tell whether the timer is there.
func (t *Timers) Cancel(ctx context.Context, owner, key string) error {
	id := timerID{t.kind, owner, key}
	end, err := t.turn(ctx, id)
	if err != nil {
		return err
	}
	defer end()
	t.book.mu.Lock()
	e := t.book.entries[id]
	switch {
	case e == nil && t.book.inDoubt(id):
		t.book.mu.Unlock()
		return fmt.Errorf("cancel a timer whose record may still come: %w", ErrUnknown)
	case e == nil:
		t.book.mu.Unlock()
		return fmt.Errorf("cancel a timer: %w", ErrNotFound)
	case e.state != waiting:
		t.book.mu.Unlock()
		return fmt.Errorf("cancel a timer: %w", ErrFired)
	}
	e.state = leaving
	t.book.withdraw(e)
	t.book.mu.Unlock()
	err = t.book.deleteRecords(ctx, slices.Concat(e.older, []uint64{e.seq}))
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	if err != nil {
		e.state = waiting
		t.book.put(e)
		return fmt.Errorf("cancel a timer: %w", err)
	}
	t.book.forget(e)
	return nil
}

// CancelAll deletes all timers of the kind that an owner has, because there is no such owner any more. After nil none of
// them fires; one whose handler runs is not tried again when that fails. What is scheduled meanwhile may stay. After
// an error, which joins those of Cancel, call it again.
func (t *Timers) CancelAll(ctx context.Context, owner string) error {
	var all error
	for _, id := range t.book.of(t.kind, owner) {
		switch err := t.Cancel(ctx, owner, id.key); {
		case err == nil, errors.Is(err, ErrNotFound):
		case errors.Is(err, ErrFired):
			t.book.lastTry(id)
		default:
			all = errors.Join(all, err)
		}
	}
	return all
}

// of lists the timers of a kind and owner, also those whose record is in doubt.
func (b *timerBook) of(kind, owner string) (ids []timerID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	add := func(id timerID) {
		if id.kind == kind && id.owner == owner && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for id := range b.entries {
		add(id)
	}
	for id := range b.doubts {
		add(id)
	}
	return ids
}

// lastTry has a timer that is firing not be tried again.
func (b *timerBook) lastTry(id timerID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[id]; e != nil && e.state == firing {
		e.state = replaced
	}
}
