package backbone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Timers are the timers of one kind, kept in a stream that all kinds share. They are on disk, so
// that they fire after a restart, too. Methods may be called from many goroutines; of processes that share an external server only one may use them.
//
//	Schedule ──> record on disk ──> due ──> handler of Run ──> record deleted
//	Cancel   ──> record deleted
//
// A timer fires at least once: a process that ends between handler and deletion calls the handler again after
// its next start. So what the handler does must happen once by itself, with PublishExpecting or Bucket.Update.
type Timers struct {
	owner *Backbone
	book  *timerBook
	kind  string
}

// Timers opens the timers of a kind, 1 to 32 letters, digits, - and _. The first call reads all of them.
func (b *Backbone) Timers(ctx context.Context, kind string) (*Timers, error) {
	if !validName(kind) {
		return nil, fmt.Errorf("kind of timers %q: expected 1 to %d letters, digits, - and _: %w", kind, maxStreamName, ErrInvalid)
	}
	if err := b.alive(); err != nil {
		return nil, err
	}
	b.opening.Lock()
	defer b.opening.Unlock()
	if b.book.Load() == nil {
		book, err := b.openTimers(ctx)
		if err != nil {
			return nil, fmt.Errorf("open timers: %w", err)
		}
		b.book.Store(book)
	}
	return &Timers{owner: b, book: b.book.Load(), kind: kind}, nil
}

// openTimers reads all records.
func (b *Backbone) openTimers(ctx context.Context) (*timerBook, error) {
	stream := timerStream()
	if b.declared.Load().names[stream.Name] == nil {
		if err := b.Declare(ctx, stream); err != nil {
			return nil, err
		}
	}
	book := newTimerBook(b.clock, b.timerLimits, b.timerTick)
	book.outage = b.outage
	var err error
	if book.records, err = b.reader.js.Stream(ctx, stream.Name); err != nil {
		return nil, b.orClosed(err)
	}
	info, err := b.info(ctx, stream.Name)
	if err != nil || info.Messages == 0 {
		return book, err
	}
	r, err := b.Reader(ctx, stream.Name, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	unreadable := 0
	for n := uint64(0); n < info.Messages; {
		messages, err := r.Next(ctx, readAheadMessages, b.patience)
		if err != nil {
			return nil, err
		}
		if len(messages) == 0 {
			return nil, errStalled
		}
		n += uint64(len(messages))
		for _, m := range messages {
			if kind, t, err := parseTimer(m); err != nil {
				unreadable++
			} else {
				book.learn(kind, t, m.Sequence)
			}
		}
	}
	if unreadable > 0 {
		b.log.Error("timers are unreadable and left alone: another version or somebody else wrote them", "timers", unreadable)
	}
	return book, nil
}

// learn takes a record that was read, newer than all before.
func (b *timerBook) learn(kind string, t Timer, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.enter(timerID{kind, t.Owner, t.Key}, t, seq)
}

// enter adds a timer, in the place of another one if there is; the caller holds mu.
func (b *timerBook) enter(id timerID, t Timer, seq uint64) *timerEntry {
	e := &timerEntry{Timer: t, id: id, seq: seq, known: b.clock.elapsed(), at: -1}
	if old := b.entries[id]; old != nil {
		b.supersede(e, old)
	}
	b.count(t.Owner, timerUse{1, t.size()})
	b.entries[id] = e
	b.put(e)
	return e
}

// supersede lets e take the place of old; the caller holds mu.
func (b *timerBook) supersede(e, old *timerEntry) {
	e.older = append(e.older, append(old.older, old.seq)...)
	switch old.state {
	case firing:
		old.state = replaced
	case waiting:
		b.withdraw(old)
		b.forget(old)
	}
}

// Schedule puts a timer on disk. It replaces the one with the same owner and key; an equal timer is not written again.
// When the former one is firing, both fire, and this one needs no room in the bounds but for a longer payload. The error wraps
// ErrFull at a bound, ErrBusy, ErrInvalid, ErrTooLarge, or is another one of Publish; after ErrUnknown the timer may fire. A disk that is short refuses timers later than data: at half of the reserve.
// A ctx that ends while the record is being written is not looked at.
func (t *Timers) Schedule(ctx context.Context, timer Timer) error {
	if err := timer.check(); err != nil {
		return err
	}
	timer.Payload = bytes.Clone(timer.Payload)
	id := timerID{t.kind, timer.Owner, timer.Key}
	end, err := t.turn(ctx, id)
	if err != nil {
		return err
	}
	defer end()
	reserved, same, err := t.book.reserve(id, &timer)
	if err != nil || same {
		return err
	}
	stored := make(chan error, 1)
	var seq uint64
	t.owner.Publish(timer.record(t.kind), func(at uint64, err error) { seq = at; stored <- err })
	if err := <-stored; err != nil {
		t.book.give(id, reserved, unknown(err))
		return fmt.Errorf("schedule a timer: %w", err)
	}
	e := t.book.install(id, timer, seq, reserved)
	t.book.mu.Lock()
	older := e.older
	t.book.mu.Unlock()
	if t.book.deleteRecords(ctx, older) == nil { // else they go with it
		t.book.mu.Lock()
		e.older = nil
		t.book.mu.Unlock()
	}
	return nil
}

// turn waits for the turn of a timer, and finds out whether it is there when that is in doubt.
func (t *Timers) turn(ctx context.Context, id timerID) (end func(), err error) {
	if end, err = t.book.turn(ctx, id); err != nil {
		return nil, err
	}
	if err := t.settle(ctx, id); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// reserve admits a timer. same says that it is there already. One whose former is firing takes the former's place
// in the bounds, else a handler that schedules its own key could not at a bound. Both count until the former is deleted, so
// a bound is exceeded by at most what is firing; a former whose own former could not be deleted gives no place.
func (b *timerBook) reserve(id timerID, timer *Timer) (reserved timerUse, same bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	whole := timerUse{1, timer.size()}
	old := b.entries[id]
	if old == nil || old.state != waiting && len(old.older) > 0 {
		return whole, false, b.admit(id.owner, whole)
	}
	if old.state == waiting && old.At.Equal(timer.At) && old.Made.Equal(timer.Made) && bytes.Equal(old.Payload, timer.Payload) {
		return timerUse{}, true, nil
	}
	more := timerUse{0, timer.size() - old.size()}
	if old.state == waiting {
		return more, false, b.admit(id.owner, more)
	}
	more.bytes = max(0, more.bytes)
	if err := b.admit(id.owner, more); err != nil {
		return whole, false, err
	}
	b.count(id.owner, timerUse{1, whole.bytes - more.bytes})
	return whole, false, nil
}

// install enters a timer whose record is on disk.
func (b *timerBook) install(id timerID, t Timer, seq uint64, reserved timerUse) *timerEntry {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count(id.owner, timerUse{-reserved.timers, -reserved.bytes})
	return b.enter(id, t, seq)
}

// Get gives a timer that has not fired to the end. It asks memory, not the disk.
func (t *Timers) Get(owner, key string) (Timer, bool) {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	e := t.book.entries[timerID{t.kind, owner, key}]
	if e == nil || e.state == leaving || e.state == fired {
		return Timer{}, false
	}
	timer := e.Timer
	timer.Payload = bytes.Clone(timer.Payload)
	return timer, true
}

// deleteRecords deletes records of timers, in this order. One that is gone is deleted.
func (b *timerBook) deleteRecords(ctx context.Context, sequences []uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	b.outage.watch(ctx, cancel) // an answer that is lost is not waited for
	for _, seq := range sequences {
		err := b.records.DeleteMsg(ctx, seq)
		if err == nil {
			continue
		}
		if _, gone := b.records.GetMsg(ctx, seq); !errors.Is(gone, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("delete record %d of a timer: %w", seq, err)
		}
	}
	return nil
}

// retryWait is how long a failed handler is left alone: a second, and twice as long after each further failure, up to a minute.
func retryWait(tries int) time.Duration {
	return min(time.Second<<min(tries-1, 6), time.Minute)
}
