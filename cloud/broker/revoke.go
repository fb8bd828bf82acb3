package broker

import (
	"slices"

	"telltale.dev/protocol/principal"
)

// Revoke takes away the subscriptions for which match is true, of all sessions, with a connection
// or without, and says how many they were. What was queued for them is dropped, retained messages too, and what
// was sent and not acknowledged is not sent again. match must be quick and must not call the broker.
//
// Whoever takes a right away changes what Config.Access says first and calls Revoke then: a
// subscription that is being made meanwhile is either refused or revoked. After Revoke has returned
// nothing new is written for these subscriptions; what a writer had taken before, 16 KiB or one
// message, may still leave.
//
// MQTT has no UNSUBSCRIBE from a server, so the client is told nothing. It keeps its connection and its
// other subscriptions, and gets no more of these; its UNSUBSCRIBE is answered with 0x11, a new
// SUBSCRIBE as the access table says then. A session that is resumed later says session present, though
// the subscriptions are gone: a client that wants to be sure subscribes at each connection.
func (b *Broker) Revoke(match func(p principal.Principal, filter string) bool) (revoked int) {
	b.mu.Lock()
	sessions := make([]*session, 0, len(b.sessions))
	for _, s := range b.sessions {
		sessions = append(sessions, s)
	}
	b.mu.Unlock()
	for _, s := range sessions {
		revoked += s.revoke(match)
	}
	return revoked
}

// revoke takes subscriptions away. The tree goes first: who has matched a topic before looks at the
// session's revision again when it offers the message. What was dropped is told with no lock held.
func (s *session) revoke(match func(p principal.Principal, filter string) bool) int {
	s.subscribing.Lock()
	var gone []string
	s.mu.Lock()
	for filter := range s.subscribed {
		if match(s.client.Load().Principal, filter) {
			gone = append(gone, filter)
		}
	}
	s.mu.Unlock()
	if len(gone) == 0 {
		s.subscribing.Unlock()
		return 0
	}
	for _, filter := range gone {
		s.broker.filters.remove(filter, s)
	}
	s.mu.Lock()
	for _, filter := range gone {
		delete(s.subscribed, filter)
	}
	s.revision.Add(1)
	s.dropUncovered()
	untold := s.takeUntold()
	s.mu.Unlock()
	s.subscribing.Unlock()
	tell(untold)
	return len(gone)
}

// covers says whether a subscription covers a topic. The caller holds mu.
func (s *session) covers(topic string) bool {
	for filter := range s.subscribed {
		if Match(filter, topic) {
			return true
		}
	}
	return false
}

// dropUncovered drops the messages that no subscription covers any more. One that the present connection
// was given keeps its packet identifier until the client has acknowledged it. The caller holds mu.
func (s *session) dropUncovered() {
	uncovered := func(e *entry) bool {
		if s.covers(e.Topic) {
			return false
		}
		s.drop(e, Revoked, 0)
		return true
	}
	s.queue.filter(func(e *entry) bool { return !uncovered(e) })
	s.held = slices.DeleteFunc(s.held, func(e entry) bool { return uncovered(&e) })
	s.inflight = slices.DeleteFunc(s.inflight, func(e entry) bool {
		return (s.conn == nil || e.sentOn != s.conn.client.Connection) && uncovered(&e)
	})
	for i := range s.inflight {
		e := &s.inflight[i]
		e.revoked = e.revoked || !s.covers(e.Topic)
	}
}
