package broker

import (
	"bytes"
	"sync"
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
	client Client // of the connection that made the session

	// Guarded by Broker.mu.
	current  uint64 // number of the newest connection
	attached bool   // it is there
	will     *will  // of that connection, until it counts or is forgotten
	expiry   time.Duration
	willAt   time.Time // when not attached and will is set
	expireAt time.Time // when not attached

	mu         sync.Mutex // guards what follows
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
}

// outgoing is a message on its way to any number of sessions.
type outgoing struct {
	Message
	user     []packets.UserProperty
	deadline time.Time // zero: never
	fixed    int       // bytes of topic and payload in a PUBLISH
	props    int       // bytes of its properties without subscription identifiers
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
}

// cost is what an entry counts for in the bounds, in bytes.
func (e *entry) cost() int64 { return int64(e.fixed + e.props) }

// offer queues a message. It is false when the session must be cut: its queue is
// full of QoS 1 messages. Before that QoS 0 is dropped: at once when it does not fit or
// nobody is connected, and from the queue when QoS 1 needs the room.
func (s *session) offer(e entry, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.broker.counters
	switch {
	case s.ended:
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
		case e.expired(now):
			c.expired.Add(1)
		case e.qos == 0 && !e.snapshot:
			c.droppedQoS0.Add(1)
		default:
			return true
		}
		s.account(e, -1)
		return false
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

func (s *session) endSnapshot(entries []entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if s.tooLarge(&e) {
			s.broker.counters.tooLarge.Add(1)
			continue
		}
		s.queue.push(e)
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
	defer s.mu.Unlock()
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
	if e.expired(now) {
		s.broker.counters.expired.Add(1)
	} else {
		s.broker.counters.tooLarge.Add(1)
	}
	s.account(e, -1)
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

// acknowledged is a PUBACK of the client, whatever its code: we do not send again on
// the same connection. An id that is not in flight there is ignored.
func (s *session) acknowledged(c *connection, id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(id)
	if s.conn != c || i < 0 || s.inflight[i].sentOn != c.client.Connection {
		return
	}
	s.account(&s.inflight[i], -1)
	s.inflight = append(s.inflight[:i], s.inflight[i+1:]...)
	c.signal()
}

// take gives the session to a connection; the one before is returned. It is false
// when a newer connection was faster, or the session has ended meanwhile.
func (s *session) take(c *connection, settings sessionSettings) (before *connection, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.conn != nil && s.conn.client.Connection > c.client.Connection {
		return nil, false
	}
	before, s.conn = s.conn, c
	s.settings = settings
	s.inflight = s.fitting(s.inflight)
	return before, true
}

// fitting drops what the client does not take any more. The caller holds mu.
func (s *session) fitting(entries []entry) []entry {
	kept := entries[:0]
	for _, e := range entries {
		if s.tooLarge(&e) {
			s.broker.counters.tooLarge.Add(1)
			s.account(&e, -1)
			continue
		}
		kept = append(kept, e)
	}
	clear(entries[len(kept):])
	return kept
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
	defer s.mu.Unlock()
	s.ended = true
	for filter := range s.subscribed {
		filters = append(filters, filter)
	}
	all := append(append(s.queue.rest(), s.held...), s.inflight...)
	for i := range all {
		s.account(&all[i], -1)
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
