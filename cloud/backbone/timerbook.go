package backbone

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// clock is what timers go by: the time of day, which may be set, and the time since the start, which may not.
type clock struct {
	wall    func() time.Time
	elapsed func() time.Duration
}

func systemClock() clock {
	start := time.Now()
	return clock{
		wall:    func() time.Time { return time.Now().Round(0) }, // without the monotonic reading, which a step would not change
		elapsed: func() time.Duration { return time.Since(start) },
	}
}

// stepTolerance is by how much the clock may be off until all due times are computed anew.
const stepTolerance = 100 * time.Millisecond

// timerState is where a timer stands.
type timerState uint8

const (
	waiting  timerState = iota
	leaving             // Cancel deletes its record
	firing              // its handler runs
	fired               // its handler is through; the record is to be deleted
	replaced            // it was firing when another one took its place; it is not tried again
)

// timerEntry is a timer that this process knows.
type timerEntry struct {
	Timer
	id    timerID
	seq   uint64   // of its record
	older []uint64 // of former records of the same timer that may still be there; they go first, else one of them could come back

	known     time.Duration // when this process learned of it; all durations are since the start
	notBefore time.Duration // of the next try; zero: there was none
	due       time.Duration
	tries     int
	state     timerState
	at        int // in the queue; -1: not there
}

// timerQueue holds the timers of one kind. It implements heap.Interface.
type timerQueue struct {
	entries []*timerEntry
	// busy has each owner one of whose timers is firing, with what is due meanwhile.
	busy    map[string][]*timerEntry
	wake    chan struct{} // capacity 1: something is due earlier than was said
	running bool          // by Timers.Run
}

func (q *timerQueue) Len() int { return len(q.entries) }
func (q *timerQueue) Less(i, j int) bool {
	a, b := q.entries[i], q.entries[j]
	return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq)) < 0
}
func (q *timerQueue) Swap(i, j int) {
	q.entries[i], q.entries[j] = q.entries[j], q.entries[i]
	q.entries[i].at, q.entries[j].at = i, j
}
func (q *timerQueue) Push(x any) {
	e := x.(*timerEntry)
	e.at = len(q.entries)
	q.entries = append(q.entries, e)
}
func (q *timerQueue) Pop() any {
	last := len(q.entries) - 1
	e := q.entries[last]
	q.entries[last], q.entries = nil, q.entries[:last]
	e.at = -1
	return e
}

// timerUse is what somebody's timers take.
type timerUse struct{ timers, bytes int }

// timerBook knows all timers that have a record, and who has how many.
type timerBook struct {
	records jetstream.Stream
	outage  *outage
	clock   clock
	limits  TimerLimits
	tick    time.Duration // how often the clock is looked at when nothing is due

	mu      sync.Mutex // guards the rest, and the entries
	zero    time.Time  // what the time of day was at the start, by the clock of now
	entries map[timerID]*timerEntry
	queues  map[string]*timerQueue
	owners  map[string]*timerUse
	all     timerUse
	turns   map[timerID]chan struct{} // of timers that somebody schedules or cancels; closed at the end of it
	doubts  map[timerID]doubt
}

func newTimerBook(c clock, limits TimerLimits, tick time.Duration) *timerBook {
	b := &timerBook{clock: c, tick: tick, limits: limits.withDefaults(), entries: map[timerID]*timerEntry{}, queues: map[string]*timerQueue{},
		owners: map[string]*timerUse{}, turns: map[timerID]chan struct{}{}, doubts: map[timerID]doubt{}}
	b.zero = c.wall().Add(-c.elapsed())
	return b
}

// queue gives that of a kind; the caller holds mu.
func (b *timerBook) queue(kind string) *timerQueue {
	q := b.queues[kind]
	if q == nil {
		q = &timerQueue{busy: map[string][]*timerEntry{}, wake: make(chan struct{}, 1)}
		b.queues[kind] = q
	}
	return q
}

// turn waits until nobody else schedules or cancels the timer, and gives what ends the turn.
func (b *timerBook) turn(ctx context.Context, id timerID) (end func(), err error) {
	for {
		b.mu.Lock()
		taken := b.turns[id]
		if taken == nil {
			mine := make(chan struct{})
			b.turns[id] = mine
			b.mu.Unlock()
			return func() {
				b.mu.Lock()
				delete(b.turns, id)
				b.mu.Unlock()
				close(mine)
			}, nil
		}
		b.mu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// count changes what an owner and all owners have; the caller holds mu.
func (b *timerBook) count(owner string, change timerUse) {
	use := b.owners[owner]
	if use == nil {
		use = &timerUse{}
		b.owners[owner] = use
	}
	for _, u := range []*timerUse{use, &b.all} {
		u.timers += change.timers
		u.bytes += change.bytes
	}
	if *use == (timerUse{}) {
		delete(b.owners, owner)
	}
}

// admit counts a change, or says which bound forbids it; the caller holds mu. What takes no more is always admitted.
func (b *timerBook) admit(owner string, change timerUse) error {
	use := timerUse{}
	if of := b.owners[owner]; of != nil {
		use = *of
	}
	for _, bound := range []struct {
		what           string
		have, more, of int
	}{
		{"owner's timers", use.timers, change.timers, b.limits.OwnerTimers},
		{"bytes of the owner's timers", use.bytes, change.bytes, b.limits.OwnerBytes},
		{"timers", b.all.timers, change.timers, b.limits.Timers},
		{"bytes of all timers", b.all.bytes, change.bytes, b.limits.Bytes},
	} {
		if bound.more > 0 && bound.have+bound.more > bound.of {
			return fmt.Errorf("%s: %d, expected at most %d: %w", bound.what, bound.have+bound.more, bound.of, ErrFull)
		}
	}
	b.count(owner, change)
	return nil
}

// dueOf is when e is due, as the clock is now; the caller holds mu.
func (b *timerBook) dueOf(e *timerEntry, zero time.Time) time.Duration {
	due := min(e.At.Sub(zero), e.known+e.span())
	if e.notBefore != 0 {
		due = max(due, e.notBefore)
	}
	return due
}

// put puts e into its queue; the caller holds mu.
func (b *timerBook) put(e *timerEntry) {
	q := b.queue(e.id.kind)
	e.due = b.dueOf(e, b.zero)
	heap.Push(q, e)
	if e.at == 0 {
		q.signal()
	}
}

func (q *timerQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// withdraw takes a waiting e out of its queue; the caller holds mu.
func (b *timerBook) withdraw(e *timerEntry) {
	q := b.queue(e.id.kind)
	if e.at >= 0 {
		heap.Remove(q, e.at)
		return
	}
	if held, ok := q.busy[e.id.owner]; ok {
		q.busy[e.id.owner] = slices.DeleteFunc(held, func(other *timerEntry) bool { return other == e })
	}
}

// forget ends e, whose record is gone; the caller holds mu.
func (b *timerBook) forget(e *timerEntry) {
	b.count(e.id.owner, timerUse{-1, -e.size()})
	if b.entries[e.id] == e {
		delete(b.entries, e.id)
	}
}

// read reads the clock; when it was set, all due times are computed anew. The caller holds mu.
func (b *timerBook) read() (now time.Duration, zero time.Time) {
	now = b.clock.elapsed()
	zero = b.clock.wall().Add(-now)
	if zero.Sub(b.zero).Abs() > stepTolerance {
		b.zero = zero
		for _, q := range b.queues {
			for _, e := range q.entries {
				e.due = b.dueOf(e, zero)
			}
			heap.Init(q)
		}
	}
	return now, zero
}

// take gives the next timer of a kind that is due and whose owner is not busy, or how long to wait for one.
func (b *timerBook) take(kind string) (e *timerEntry, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, zero := b.read()
	for q := b.queue(kind); len(q.entries) > 0; {
		next := q.entries[0]
		if next.due > now {
			return nil, min(next.due-now, b.tick)
		}
		if due := b.dueOf(next, zero); due > now { // the clock differs a little from what its place was computed with
			next.due = due
			heap.Fix(q, 0)
			continue
		}
		heap.Pop(q)
		if held, busy := q.busy[next.id.owner]; busy {
			q.busy[next.id.owner] = append(held, next)
			continue
		}
		q.busy[next.id.owner] = nil
		if next.state == waiting {
			next.state = firing
		}
		return next, 0
	}
	return nil, b.tick
}

// release ends the turn of e's owner, and puts back what became due meanwhile.
func (b *timerBook) release(e *timerEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(e.id.kind)
	held := q.busy[e.id.owner]
	delete(q.busy, e.id.owner)
	for _, other := range held {
		b.put(other)
	}
	q.signal()
}

// scheduled is how many timers there are.
func (b *timerBook) scheduled() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.entries)
}
