package backbone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// doubt is a timer whose record may or may not be there, since the server did not answer.
type doubt struct {
	reserved timerUse
	until    time.Duration // since the start: before, the server may still write the record that it was sent
}

const (
	// doubtEvery is the time between two questions to the server about the timers whose record is in doubt.
	doubtEvery = time.Second
	// doubtFor is how long a record that was not answered may still come: the server has it or has lost it by then.
	doubtFor = 2 * commitTimeout
)

// give gives back what was reserved, unless the record may be there.
func (b *timerBook) give(id timerID, reserved timerUse, unknown bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if unknown {
		d := b.doubts[id]
		b.doubts[id] = doubt{timerUse{d.reserved.timers + reserved.timers, d.reserved.bytes + reserved.bytes}, b.clock.elapsed() + doubtFor}
		return
	}
	b.count(id.owner, timerUse{-reserved.timers, -reserved.bytes})
}

// inDoubt says whether a timer's record may still come; the caller holds mu.
func (b *timerBook) inDoubt(id timerID) bool {
	_, ok := b.doubts[id]
	return ok
}

// settle finds out whether a timer that is in doubt is there. While its record may still come the doubt
// stays: else the record would be on disk, unknown to memory, and the timer would fire after a restart.
func (t *Timers) settle(ctx context.Context, id timerID) error {
	t.book.mu.Lock()
	d, doubtful := t.book.doubts[id]
	early := t.book.clock.elapsed() < d.until
	t.book.mu.Unlock()
	if !doubtful {
		return nil
	}
	m, err := t.owner.last(ctx, timerStream().Name, id.subject())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("whether the timer is there: %w: %w", ErrUnknown, err)
	}
	kind, timer, bad := parseTimer(m)
	t.book.mu.Lock()
	e := t.book.entries[id]
	news := err == nil && bad == nil && (e == nil || m.Sequence > e.seq)
	if early && !news {
		t.book.mu.Unlock()
		return nil
	}
	t.book.mu.Unlock()
	if err == nil { // else an older record would count again once the newest is deleted
		if err := t.owner.mayTrim(); err != nil {
			return fmt.Errorf("former records of a timer: %w: %w", ErrUnknown, err)
		}
		if err := t.book.keepNewest(ctx, id); err != nil {
			return fmt.Errorf("former records of a timer: %w: %w", ErrUnknown, err)
		}
	}
	t.book.mu.Lock()
	delete(t.book.doubts, id)
	t.book.mu.Unlock()
	t.book.give(id, d.reserved, false)
	if news {
		t.book.learn(kind, timer, m.Sequence)
	}
	return nil
}

// keepNewest deletes all records of a timer but the newest.
func (b *timerBook) keepNewest(ctx context.Context, id timerID) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	b.outage.watch(ctx, cancel)
	return b.records.Purge(ctx, jetstream.WithPurgeSubject(id.subject()), jetstream.WithPurgeKeep(1))
}

// settleRegularly finds out about the timers that are in doubt, until ctx ends. It is beside Run, since an answer may be
// long in coming, and no timer shall wait for it.
func (t *Timers) settleRegularly(ctx context.Context) {
	for {
		select {
		case <-time.After(doubtEvery):
			t.settleAll(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// settleAll finds out about the timers of the kind that are in doubt.
func (t *Timers) settleAll(ctx context.Context) {
	t.book.mu.Lock()
	var ids []timerID
	for id := range t.book.doubts {
		if id.kind == t.kind {
			ids = append(ids, id)
		}
	}
	t.book.mu.Unlock()
	for _, id := range ids {
		end, err := t.turn(ctx, id)
		if err != nil {
			return // the next time
		}
		end()
	}
}
