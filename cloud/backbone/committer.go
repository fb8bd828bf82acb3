package backbone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// item is one message on its way to disk.
type item struct {
	msg *nats.Msg // nil in a grouped stream
	// head and data are the message as a record of a grouped stream has it.
	head, data []byte

	size  int // bytes, about, in memory and on disk
	done  func(uint64, error)
	since time.Time
	// expects is the sequence that PublishExpecting demands of the subject's newest message; nil: any.
	expects *uint64
}

// committer is the group committer of one stream: while one commit is on its way to
// the disk the next one collects. One commit at a time keeps the order of
// each publisher even when a batch is refused and its messages go one by one.
type committer struct {
	Stream
	owner  *Backbone
	prefix string // of batch ids; owned by run
	number uint64 // of the last batch; owned by run
	costs  costs  // owned by run
	// Of a grouped stream, owned by run: the newest record, nil when that has to be asked for, and the memory for the next one.
	newest *record
	lost   bool // it was asked for in vain
	record []byte
	// tooLarge is the size of the smallest message that the stream's limit refused in this commit, in bytes; 0: none. Owned by run.
	tooLarge int
	index    recordIndex
	wake     chan struct{}
	whole    chan struct{} // a whole batch waits, or the committer is closed
	// foreignSaid says that a message of others in the stream was logged.
	foreignSaid atomic.Bool
	// acknowledged is the highest sequence that a publisher was told.
	acknowledged atomic.Uint64
	// refusedSize is of a message that the stream's limit refused, in bytes; 0: it takes them.
	refusedSize atomic.Int64

	mu      sync.Mutex // guards the rest
	waiting []item
	bytes   int
	limit   int // of bytes in a commit
	closed  bool
}

func newCommitter(s Stream, owner *Backbone) *committer {
	return &committer{Stream: s, owner: owner, prefix: batchPrefix(), costs: newCosts(), wake: make(chan struct{}, 1), whole: make(chan struct{}, 1)}
}

// link is the connection on which the committer publishes.
func (l *committer) link() *link {
	if l.Name == Low {
		return &l.owner.bulk
	}
	return &l.owner.writer
}

// add queues it, or says ErrBusy or ErrClosed.
func (l *committer) add(it item) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case len(l.waiting) >= queueMessages, l.bytes+it.size > queueBytes:
		return fmt.Errorf("stream %s: %d messages wait: %w", l.Name, len(l.waiting), ErrBusy)
	}
	l.waiting = append(l.waiting, it)
	l.bytes += it.size
	signal(l.wake)
	if l.wholeWaits() {
		signal(l.whole)
	}
	return nil
}

// close makes run return after what waits is stored.
func (l *committer) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	signal(l.wake)
	signal(l.whole)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // run will look anyway
	}
}

// take moves the next batch into buf: the oldest messages that fit, in order. Conditional messages
// are never together with others, nor with one of the same subject, whose outcome theirs depends on.
// more is false when the committer is closed and empty.
func (l *committer) take(buf []item) (batch []item, more bool) {
	limit := l.batchBytes() // it asks the connection, which may stand still: nobody who publishes must wait for that
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
	n, size := 0, 0
	subjects := map[string]bool{} // of conditional messages
	for n < len(l.waiting) && n < batchMessages && (n == 0 || size+l.waiting[n].size <= l.limit) {
		it := &l.waiting[n]
		if conditional := it.expects != nil; conditional != (l.waiting[0].expects != nil) || conditional && subjects[it.msg.Subject] {
			break
		} else if conditional {
			subjects[it.msg.Subject] = true
		}
		size += it.size
		n++
	}
	batch = append(buf[:0], l.waiting[:n]...)
	rest := copy(l.waiting, l.waiting[n:])
	clear(l.waiting[rest:])
	l.waiting = l.waiting[:rest]
	l.bytes -= size
	return batch, !l.closed || n > 0
}

// wholeWaits says whether what waits is more than one commit takes. The caller holds mu.
func (l *committer) wholeWaits() bool {
	return len(l.waiting) >= batchMessages || l.limit > 0 && l.bytes >= l.limit
}

// batchBytes bounds one commit. A record of a grouped stream is what Trim deletes at once, so it is a small part of what the stream
// may have. Neither is it larger than the largest message that the server takes.
func (l *committer) batchBytes() int {
	if !l.grouped {
		return batchBytes
	}
	size := groupBytes
	if l.Limits.MaxBytes > 0 {
		size = int(min(int64(size), l.Limits.MaxBytes/groupPart))
	}
	if largest := int(l.link().conn.MaxPayload()); largest > 0 {
		size = min(size, largest-messageOverhead)
	}
	return size
}

// run commits until the committer is closed and empty. A cancelled ctx ends the commit in flight.
func (l *committer) run(ctx context.Context) {
	buf := make([]item, 0, batchMessages)
	for {
		batch, more := l.take(buf)
		if !more {
			return
		}
		if len(batch) == 0 {
			<-l.wake
			continue
		}
		next := time.Now().Add(bulkPause)
		l.commit(ctx, batch)
		clear(batch) // let go of the messages
		if l.Name == Low {
			l.pause(next)
		}
	}
}

// pause waits until next, or until there is a whole batch. Urgent messages have the disk for themselves meanwhile, and what comes in is
// one commit. A message that comes after a longer silence does not wait.
func (l *committer) pause(next time.Time) {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		l.mu.Lock()
		over := l.closed || l.wholeWaits()
		l.mu.Unlock()
		if over {
			return
		}
		select {
		case <-l.whole:
		case <-timer.C:
			return
		}
	}
}

// queued is what waits now.
func (l *committer) queued() (messages, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting), l.bytes
}

// share is by what the reserve of free space is divided: 1 keeps all of the reserve from the stream, 2 a half of it.
func (l *committer) share() int64 {
	if l.vital {
		return bucketPart
	}
	return 1
}

// finish tells one publisher.
func (l *committer) finish(it *item, seq uint64, err error) {
	if err != nil {
		if errors.Is(err, errStreamFull) {
			l.full(it.size, err)
		}
		l.owner.stats.refuse(err)
		it.done(0, err)
		return
	}
	l.acknowledged.Store(max(seq, l.acknowledged.Load())) // run alone writes it
	l.owner.stats.stored(time.Since(it.since))
	it.done(seq, nil)
}

func (l *committer) finishAll(batch []item, err error) {
	for i := range batch {
		l.finish(&batch[i], 0, err)
	}
}

// unknown tells whether err leaves open if the messages are stored.
func unknown(err error) bool { return errors.Is(err, ErrUnknown) || errors.Is(err, ErrFailed) }
