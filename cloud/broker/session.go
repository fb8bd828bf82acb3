package broker

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// session is what outlives a connection: subscriptions, the queue in order, and
// what is in flight.
//
//	offer ──► held (while a snapshot of retained messages is taken) ──► queue ──► next ──► inflight ──► acknowledged
//
// A QoS 0 message ends at next. At resumption what is in flight is sent again with
// DUP, in the same order and under the same packet ids, before the queue goes on.
type session struct {
	broker *Broker
	key    string
	// client is that of the connection that took the session last, never nil: rights are those of its certificate, not of
	// the one that the session was made with.
	client atomic.Pointer[Client]

	// Guarded by Broker.mu.
	current  uint64 // number of the newest connection
	attached bool   // it is there
	will     *will  // of that connection, until it counts or is forgotten
	expiry   time.Duration
	willAt   time.Time // when not attached and will is set
	expireAt time.Time // when not attached

	// subscribing orders the changes of the session's subscriptions, here and in the tree; mu and that of
	// the tree are taken and released under it.
	subscribing sync.Mutex
	revision    atomic.Uint32 // changes when subscriptions were revoked

	mu         sync.Mutex // guards what follows; given back by unlock after a drop
	conn       *connection
	ended      bool
	subscribed map[string]subscription
	settings   sessionSettings
	queue      fifo
	held       []entry
	holding    int     // snapshots under way
	inflight   []entry // QoS 1, in the order sent first
	packetID   uint16
	count      int   // live entries, wherever they are
	bytes      int64 // of the same
	tracked    int   // those of them that are of Send
	untold     []told
}

// outgoing is a message on its way to any number of sessions.
type outgoing struct {
	Message
	user     []packets.UserProperty
	deadline time.Time // zero: never
	fixed    int       // bytes of topic and payload in a PUBLISH
	props    int       // bytes of its properties without subscription identifiers

	// Of a message of Send, which goes to one session.
	settled func(Settlement) // nil: nobody wants to know
	timer   *time.Timer      // drops it when it expires; nil: it does not
}

// entry is one message for one session.
type entry struct {
	*outgoing
	ids      []int // subscription identifiers
	qos      byte
	retain   bool
	snapshot bool   // retained, for a new subscription: outside the bounds of the queue
	packetID uint16 // 0: not sent yet
	sentOn   uint64 // connection that it was last sent on
	dup      bool
	revoked  bool // not to be sent again
}

// cost is what an entry counts for in the bounds, in bytes.
func (e *entry) cost() int64 { return int64(e.fixed + e.props) }

// offer queues a message. It is false when the session must be cut: its queue is
// full of QoS 1 messages. Before that QoS 0 is dropped: at once when it does not fit or
// nobody is connected, and from the queue when QoS 1 needs the room. revision is the session's when the topic
// was matched.
func (s *session) offer(e entry, revision uint32, now time.Time) bool {
	s.mu.Lock()
	defer s.unlock()
	c := &s.broker.counters
	switch {
	case s.ended || s.revision.Load() != revision && !s.covers(e.Topic):
		return true
	case s.tooLarge(&e):
		c.tooLarge.Add(1)
		return true
	case e.qos == 0 && (s.conn == nil || s.full(&e)):
		c.droppedQoS0.Add(1)
		return true
	case s.full(&e):
		if s.prune(now); s.full(&e) {
			return false
		}
	}
	s.push(e)
	return true
}

// tooLarge: the client would have to drop the connection over such a packet.
func (s *session) tooLarge(e *entry) bool {
	return s.settings.maxPacket > 0 && e.wireSize() > int(s.settings.maxPacket)
}

func (s *session) full(e *entry) bool {
	limits := &s.broker.cfg
	return s.count >= limits.QueueMessages || s.bytes+e.cost() > limits.QueueBytes
}

// push appends a live entry. The caller holds mu.
func (s *session) push(e entry) {
	s.account(&e, 1)
	if s.holding > 0 {
		s.held = append(s.held, e)
		return
	}
	s.queue.push(e)
	if s.conn != nil {
		s.conn.signal()
	}
}

// account keeps the counts of live entries. The caller holds mu.
func (s *session) account(e *entry, sign int) {
	if e.snapshot {
		return
	}
	s.count += sign
	s.bytes += int64(sign) * e.cost()
	s.broker.counters.queued.Add(int64(sign))
	s.broker.counters.queuedBytes.Add(int64(sign) * e.cost())
}

// prune drops expired and QoS 0 messages from the queue. The caller holds mu.
func (s *session) prune(now time.Time) {
	c := &s.broker.counters
	s.queue.filter(func(e *entry) bool {
		switch {
		case s.dropExpired(e, now):
			return false
		case e.qos == 0 && !e.snapshot:
			c.droppedQoS0.Add(1)
			s.account(e, -1)
			return false
		}
		return true
	})
}

func (e *entry) expired(now time.Time) bool { return !e.deadline.IsZero() && !now.Before(e.deadline) }

// beginSnapshot holds live messages back until endSnapshot has put the retained ones
// before them, so that a subscriber never sees an old state after a newer one.
func (s *session) beginSnapshot() {
	s.mu.Lock()
	s.holding++
	s.mu.Unlock()
}

// endSnapshot is given the retained messages, and the session's revision when their subscriptions were made.
func (s *session) endSnapshot(entries []entry, revision uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	revoked := s.revision.Load() != revision
	for _, e := range entries {
		switch {
		case revoked && !s.covers(e.Topic):
		case s.tooLarge(&e):
			s.broker.counters.tooLarge.Add(1)
		default:
			s.queue.push(e)
		}
	}
	if s.holding--; s.holding == 0 {
		for _, e := range s.held {
			s.queue.push(e)
		}
		s.held = nil
	}
	if s.conn != nil {
		s.conn.signal()
	}
}

// next gives what may be written to c now, up to about room bytes and at least one
// entry, in order.
func (s *session) next(c *connection, room int) []entry {
	s.mu.Lock()
	defer s.unlock()
	if s.conn != c || s.ended {
		return nil
	}
	number := c.client.Connection
	var out []entry
	sent := 0
	for i := range s.inflight {
		e := &s.inflight[i]
		switch {
		case sent >= s.settings.window || room <= 0:
			return out
		case e.sentOn != number:
			e.sentOn, e.dup = number, true
			out = append(out, *e)
			room -= int(e.cost())
		}
		sent++
	}
	now := time.Now()
	for room > 0 && s.queue.len() > 0 {
		e := s.queue.front()
		if e.expired(now) || s.tooLarge(e) {
			s.discard(e, now)
			continue
		}
		if e.qos > 0 && len(s.inflight) >= s.settings.window {
			break
		}
		room -= int(e.cost())
		out = append(out, s.send(number))
	}
	return out
}

// discard drops the front of the queue. The caller holds mu.
func (s *session) discard(e *entry, now time.Time) {
	if !s.dropExpired(e, now) {
		s.broker.counters.tooLarge.Add(1)
		s.drop(e, TooLarge, 0)
	}
	s.queue.pop()
}

// send takes the front of the queue, into flight if it is QoS 1. The caller holds mu.
func (s *session) send(number uint64) entry {
	e := s.queue.pop()
	s.broker.counters.delivered.Add(1)
	if e.qos == 0 {
		s.account(&e, -1)
		return e
	}
	e.packetID, e.sentOn = s.nextID(), number
	s.inflight = append(s.inflight, e)
	return e
}

// nextID finds a packet id that is not in flight; at most sendWindow are.
func (s *session) nextID() uint16 {
	for {
		s.packetID++
		if s.packetID != 0 && s.find(s.packetID) < 0 {
			return s.packetID
		}
	}
}

func (s *session) find(id uint16) int {
	for i := range s.inflight {
		if s.inflight[i].packetID == id {
			return i
		}
	}
	return -1
}

// acknowledged is a PUBACK of the client. Whatever its code, the message is not sent again
// [MQTT-4.4.0-2]. An id that is not in flight there is ignored.
func (s *session) acknowledged(c *connection, id uint16, code byte) {
	s.mu.Lock()
	defer s.unlock()
	i := s.find(id)
	if s.conn != c || i < 0 || s.inflight[i].sentOn != c.client.Connection {
		return
	}
	s.broker.counters.acknowledged[code].Add(1)
	s.drop(&s.inflight[i], Acknowledged, code)
	s.inflight = slices.Delete(s.inflight, i, i+1)
	c.signal()
}

// setClient says whose connection has the session. It keeps a copy, so that a session that waits does not keep the connection.
func (s *session) setClient(client Client) { s.client.Store(&client) }

// take gives the session to a connection; the one before is returned. It is false
// when a newer connection was faster, or the session has ended meanwhile.
func (s *session) take(c *connection, settings sessionSettings) (before *connection, ok bool) {
	s.mu.Lock()
	defer s.unlock()
	if s.ended || s.conn != nil && s.conn.client.Connection > c.client.Connection {
		return nil, false
	}
	s.setClient(c.client)
	before, s.conn = s.conn, c
	s.settings = settings
	s.inflight = s.fitting(s.inflight)
	return before, true
}

// fitting drops what the client does not take any more, or shall not get again. The caller holds mu.
func (s *session) fitting(entries []entry) []entry {
	return slices.DeleteFunc(entries, func(e entry) bool {
		switch {
		case e.revoked:
			s.drop(&e, Revoked, 0)
		case s.tooLarge(&e):
			s.broker.counters.tooLarge.Add(1)
			s.drop(&e, TooLarge, 0)
		default:
			return false
		}
		return true
	})
}

// leave takes the session from a connection that has ended, if it still has it.
func (s *session) leave(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == c {
		s.conn = nil
	}
}

// end empties the session for good, and gives back its filters and its connection.
func (s *session) end() (filters []string, conn *connection) {
	s.mu.Lock()
	defer s.unlock()
	s.ended = true
	for filter := range s.subscribed {
		filters = append(filters, filter)
	}
	all := append(append(s.queue.rest(), s.held...), s.inflight...)
	for i := range all {
		s.drop(&all[i], SessionEnded, 0)
	}
	conn = s.conn
	s.conn, s.subscribed, s.queue, s.held, s.inflight = nil, nil, fifo{}, nil, nil
	return filters, conn
}

// encodePublish appends one message.
func (c *connection) encodePublish(buf *bytes.Buffer, e entry) {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: e.qos, Retain: e.retain, Dup: e.dup},
		TopicName:   e.Topic, PacketID: e.packetID, Payload: e.Payload,
	}
	if c.version == 5 {
		pk.Mods.AllowResponseInfo = true // else mochi leaves response topic and correlation data out
		pk.Properties = packets.Properties{
			ContentType: e.ContentType, User: e.user, SubscriptionIdentifier: e.ids,
			MessageExpiryInterval: e.remaining(time.Now()), CorrelationData: e.Correlation,
			ResponseTopic: e.Response,
		}
		if e.Format != nil {
			pk.Properties.PayloadFormat, pk.Properties.PayloadFormatFlag = *e.Format, true
		}
	}
	encode(buf, &pk, c.version)
}

// remaining is the message expiry interval to send: seconds left, at least 1; 0: none.
func (e *entry) remaining(now time.Time) uint32 {
	if e.deadline.IsZero() {
		return 0
	}
	left := (e.deadline.Sub(now) + time.Second - 1) / time.Second
	return uint32(min(max(left, 1), 1<<32-1))
}

// wireSize is the size of the PUBLISH packet in MQTT 5, in bytes.
func (e *entry) wireSize() int {
	props := e.props
	for _, id := range e.ids {
		props += 1 + varintSize(id)
	}
	remaining := e.fixed + varintSize(props) + props
	if e.qos > 0 {
		remaining += 2
	}
	return 1 + varintSize(remaining) + remaining
}
