package uplink

import (
	"slices"
	"sync"
	"time"

	"telltale.dev/protocol"
)

// Message is what goes to the cloud without waiting on disk.
type Message struct {
	Topic       string
	ContentType string
	Class       protocol.Priority // must be set
	QoS         byte              // 0 or 1
	Created     time.Time
	TTL         time.Duration // after Created; 0: for ever
	// Newest: the newest message of its topic waits in memory until it is acknowledged, also over connections.
	// Others are dropped when there is no connection, and when a newer one of the topic comes first.
	Newest  bool
	Payload []byte
}

// maxMail bounds the messages that wait, each of another topic. They are our own rooms': a
// further topic takes the place of the one that waits longest, which is counted as dropped.
const maxMail = 32

// mailbox holds messages, the newest of each topic.
type mailbox struct {
	mu        sync.Mutex // guards what follows
	connected bool
	waiting   []*letter // oldest first
	dropped   uint64
}

// letter is a message in the mailbox until it is settled.
type letter struct {
	item   *Item
	newest bool
	taken  bool // in this connection
}

// Send hands a message over. It does not block and owns the payload. It may be called at any time.
func (u *Uplink) Send(m Message) {
	u.mailbox.put(&letter{newest: m.Newest, item: &Item{
		kind: messageKind, topic: m.Topic, contentType: m.ContentType, priority: m.Class, qos: m.QoS,
		created: m.Created, ttl: m.TTL, payload: m.Payload,
	}})
	u.signal()
}

func (b *mailbox) put(new *letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.connected && !new.newest {
		b.dropped++
		return
	}
	b.waiting = slices.DeleteFunc(b.waiting, func(old *letter) bool { return old.item.topic == new.item.topic })
	if len(b.waiting) >= maxMail {
		b.waiting = slices.Delete(b.waiting, 0, 1)
		b.dropped++
	}
	b.waiting = append(b.waiting, new)
}

// each calls f for each message that waits.
func (b *mailbox) each(f func(*Item)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.waiting {
		f(l.item)
	}
}

// next gives the oldest message that was not taken in this connection, whose class is not held, and that may go.
func (b *mailbox) next(lowest protocol.Priority, may func(*Item) bool) *Item {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.waiting {
		if !l.taken && l.item.priority >= lowest && may(l.item) {
			l.taken = true
			return l.item
		}
	}
	return nil
}

// settled forgets a message that was acknowledged, or is of no use any more.
func (b *mailbox) settled(it *Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = slices.DeleteFunc(b.waiting, func(l *letter) bool { return l.item == it })
}

// superseded says whether a newer message has taken the place of one.
func (b *mailbox) superseded(it *Item) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !slices.ContainsFunc(b.waiting, func(l *letter) bool { return l.item == it })
}

func (b *mailbox) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.connected = true
}

// close keeps what waits for the next connection, and drops the rest.
func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.waiting)
	b.waiting = slices.DeleteFunc(b.waiting, func(l *letter) bool { return !l.newest })
	b.dropped += uint64(before - len(b.waiting))
	b.connected = false
	for _, l := range b.waiting {
		l.taken = false
		l.item.tries, l.item.wait, l.item.quota = 0, 0, false
	}
}

// lost is how many messages were dropped.
func (b *mailbox) lost() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}
