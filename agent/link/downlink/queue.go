package downlink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"telltale.dev/protocol/topics"
)

// entry is a message that waits for its route.
type entry struct {
	Message
	number  uint64   // in the inbox; 0: it is not there
	verdict *verdict // of the route; nil: it was not asked yet. Guarded by the mutex of the queue
}

// verdict is what the route says of a document, which is read once for it, however many others wait.
type verdict struct {
	revision uint64
	usable   bool
}

// queue is what waits for one route, the oldest first.
type queue struct {
	route *Route
	inbox *inbox

	mu      sync.Mutex // guards what follows
	waiting []entry
	bytes   int                                // payloads in waiting
	taking  *entry                             // handed to Take now; nil: none
	cancel  context.CancelFunc                 // ends the context of taking
	taken   map[topics.Topic][sha256.Size]byte // of the newest message of a topic that was dealt with for good; Newest only
	expired uint64
	arrived chan struct{} // capacity 1
}

func newQueue(route *Route, in *inbox) *queue {
	if route.MaxMessages == 0 {
		route.MaxMessages = defaultMessages
	}
	if route.MaxBytes == 0 {
		route.MaxBytes = defaultBytes
	}
	return &queue{route: route, inbox: in, taken: map[topics.Topic][sha256.Size]byte{}, arrived: make(chan struct{}, 1)}
}

// room says whether a message may wait, after those whose time is over have made room.
func (q *queue) room(m *entry, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(func(e *entry) bool {
		if !e.Expired(now) {
			return false
		}
		q.expired++
		return true
	})
	messages, bytes := len(q.waiting), q.bytes
	if q.taking != nil && !q.replaces(m, q.taking) {
		messages, bytes = messages+1, bytes+len(q.taking.Payload)
	}
	for i := range q.waiting {
		if q.replaces(m, &q.waiting[i]) {
			messages, bytes = messages-1, bytes-len(q.waiting[i].Payload)
		}
	}
	return messages <= 0 || messages < q.route.MaxMessages && bytes+len(m.Payload) <= q.route.MaxBytes
}

// replaces says whether m makes an older message useless. One that cannot be used makes nothing useless but others that
// cannot either. The caller holds mu.
func (q *queue) replaces(m, old *entry) bool {
	if q.route.Mode != Newest || m.Topic != old.Topic {
		return false
	}
	newer, former := q.judge(m), q.judge(old)
	return !former.usable || newer.usable && newer.revision >= former.revision
}

// judge asks the route about a document, once. The caller holds mu.
func (q *queue) judge(e *entry) *verdict {
	if e.verdict == nil {
		e.verdict = &verdict{usable: true}
		if q.route.Revision != nil {
			e.verdict.revision, e.verdict.usable = q.route.Revision(e.Payload)
		}
	}
	return e.verdict
}

// drop removes entries that wait, from the inbox too. The caller holds mu.
func (q *queue) drop(which func(*entry) bool) {
	q.waiting = slices.DeleteFunc(q.waiting, func(e entry) bool {
		if !which(&e) {
			return false
		}
		q.bytes -= len(e.Payload)
		q.inbox.remove(e.number)
		return true
	})
}

// known says whether m is a repetition of what was dealt with for good, as a broker sends its retained
// documents after each connect: then the inbox need not have it, and the flash is spared.
func (q *queue) known(m *Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	sum, ok := q.taken[m.Topic]
	return ok && q.taking == nil && len(q.waiting) == 0 && sum == sha256.Sum256(m.Payload)
}

// pending says whether m is a repetition of a document that is on disk already and not dealt with. Then it
// is there for good, and who takes it now need not begin anew.
func (q *queue) pending(m *Message) bool {
	if q.route.Mode != Newest || m.Expires {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	newest := q.taking
	for i := range q.waiting {
		if q.waiting[i].Topic == m.Topic {
			newest = &q.waiting[i]
		}
	}
	return newest != nil && newest.Topic == m.Topic && newest.number != 0 && !newest.Expires && bytes.Equal(newest.Payload, m.Payload)
}

// add queues an entry.
func (q *queue) add(e entry) {
	q.mu.Lock()
	q.drop(func(old *entry) bool { return q.replaces(&e, old) })
	if q.taking != nil && q.replaces(&e, q.taking) {
		q.cancel()
	}
	q.waiting = append(q.waiting, e)
	q.bytes += len(e.Payload)
	q.mu.Unlock()
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

// next gives the oldest message that may be acted upon, and the context of its taking; nil when there is none.
func (q *queue) next(ctx context.Context, now time.Time) (*entry, context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		e := q.waiting[0]
		q.waiting[0] = entry{}
		q.waiting = q.waiting[1:]
		q.bytes -= len(e.Payload)
		if e.Expired(now) {
			q.expired++
			q.inbox.remove(e.number)
			continue
		}
		q.taking = &e
		ctx, q.cancel = context.WithCancel(ctx)
		return &e, ctx
	}
	return nil, ctx
}

// finish ends the taking of e. A message that was left stays in the inbox for the next start, unless a newer one has
// taken its place.
func (q *queue) finish(e *entry, left bool) {
	sum := sha256.Sum256(e.Payload)
	q.mu.Lock()
	defer q.mu.Unlock()
	superseded := left && slices.ContainsFunc(q.waiting, func(newer entry) bool { return q.replaces(&newer, e) })
	if q.route.Mode == Newest {
		delete(q.taken, e.Topic)
		if !left && len(q.taken) < q.route.MaxMessages {
			q.taken[e.Topic] = sum
		}
	}
	if !left || superseded {
		q.inbox.remove(e.number)
	}
	q.cancel()
	q.taking, q.cancel = nil, nil
}

// run hands messages to the route until ctx ends.
func (q *queue) run(ctx context.Context) {
	for ctx.Err() == nil {
		e, taking := q.next(ctx, time.Now())
		if e != nil {
			q.route.Take(taking, e.Message)
			q.finish(e, taking.Err() != nil)
			continue
		}
		select {
		case <-ctx.Done():
		case <-q.arrived:
		}
	}
}

// counts gives how many messages and bytes wait, and how many were dropped since their time was over.
func (q *queue) counts() (messages, bytes int, expired uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	messages, bytes = len(q.waiting), q.bytes
	if q.taking != nil {
		messages, bytes = messages+1, bytes+len(q.taking.Payload)
	}
	return messages, bytes, q.expired
}
