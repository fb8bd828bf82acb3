package broker

import (
	"slices"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"telltale.dev/cloud/access"
)

// Deliver sends a message to every matching subscription, connected or with a
// session that waits for its client. It never waits for a client. Messages of one
// caller arrive in the order of its calls; a QoS 1 message reaches each of the
// subscriptions with QoS 1 unless it expires or the session ends.
func (b *Broker) Deliver(m Message) {
	matches := b.filters.match(m.Topic)
	if len(matches) == 0 {
		return
	}
	out := newOutgoing(m)
	now := time.Now()
	for s, how := range matches {
		if m.From != 0 && !how.local && s.holder() == m.From {
			continue
		}
		if !b.mayGet(s, m.Topic) {
			continue
		}
		slices.Sort(how.ids)
		e := entry{
			outgoing: out, ids: how.ids, qos: min(m.QoS, how.qos),
			retain: m.Retain && how.retainAsPublished,
		}
		if !s.offer(e, how.revision, now) {
			b.cut(s)
		}
	}
}

// mayGet says whether a session gets messages of a topic that its subscriptions cover.
func (b *Broker) mayGet(s *session, topic string) bool {
	return b.cfg.Access(s.client.Load().Principal, access.Deliver, topic).Allowed()
}

// holder is the number of the connection that has the session, 0 for none.
func (s *session) holder() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return 0
	}
	return s.conn.client.Connection
}

// newOutgoing prepares what all receivers of a message share.
func newOutgoing(m Message) *outgoing {
	m.QoS = min(m.QoS, 1)
	out := &outgoing{Message: m}
	if m.Expiry > 0 {
		out.deadline = time.Now().Add(m.Expiry)
	}
	out.fixed = 2 + len(m.Topic) + len(m.Payload)
	for _, p := range m.User {
		out.user = append(out.user, packets.UserProperty{Key: p.Key, Val: p.Value})
		out.props += 5 + len(p.Key) + len(p.Value)
	}
	if m.Format != nil {
		out.props += 2
	}
	if m.Response != "" {
		out.props += 3 + len(m.Response)
	}
	if m.ContentType != "" {
		out.props += 3 + len(m.ContentType)
	}
	if m.Expiry > 0 {
		out.props += 5
	}
	if len(m.Correlation) > 0 {
		out.props += 3 + len(m.Correlation)
	}
	return out
}

// varintSize is the size of a variable byte integer (MQTT 5, 1.5.5).
func varintSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}
