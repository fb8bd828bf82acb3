package broker

import (
	"time"

	"telltale.dev/protocol/principal"
)

// operatorSessions counts the sessions of operators, apart from those of devices: an operator
// may use as many client identifiers as it likes, a device has one. Guarded by Broker.mu.
type operatorSessions struct {
	keys  map[string]map[string]struct{} // of sessions by URI of the operator, as its certificate says
	total int
}

// manySessions says whether a client may have several sessions.
func (c *Client) manySessions() bool { return c.Kind != principal.Device }

// roomFor says whether a client may have a session more. The caller holds mu.
func (b *Broker) roomFor(client Client) bool {
	if !client.manySessions() {
		return len(b.sessions)-b.operators.total < b.cfg.MaxSessions
	}
	return len(b.operators.keys[client.URI()]) < b.cfg.SessionsPerOperator && b.operators.total < b.cfg.MaxOperatorSessions
}

// keep puts a session into the table, in the place of one with the same key. The caller holds mu.
func (b *Broker) keep(s *session) {
	_, replaced := b.sessions[s.key]
	b.sessions[s.key] = s
	if replaced || !s.client.Load().manySessions() {
		return
	}
	name := s.client.Load().URI()
	if b.operators.keys[name] == nil {
		b.operators.keys[name] = make(map[string]struct{})
	}
	b.operators.keys[name][s.key] = struct{}{}
	b.operators.total++
}

// drop takes a session out of the table. The caller holds mu, and has seen that it is there.
func (b *Broker) drop(s *session) {
	delete(b.sessions, s.key)
	if !s.client.Load().manySessions() {
		return
	}
	name := s.client.Load().URI()
	delete(b.operators.keys[name], s.key)
	if len(b.operators.keys[name]) == 0 {
		delete(b.operators.keys, name)
	}
	b.operators.total--
}

// makeRoom ends the session without connection that an operator has used longest ago, when it needs
// room for another one: a program that takes a new client identifier at each start shall not lock out its operator.
func (b *Broker) makeRoom(c *connection) {
	b.mu.Lock()
	var oldest *session
	if c.client.manySessions() && b.sessions[c.key] == nil && !b.roomFor(c.client) {
		for key := range b.operators.keys[c.client.URI()] {
			s := b.sessions[key]
			if !s.attached && (oldest == nil || s.current < oldest.current) {
				oldest = s
			}
		}
	}
	if oldest != nil {
		b.drop(oldest)
		oldest.expireAt = time.Now()
	}
	b.mu.Unlock()
	if oldest != nil {
		b.counters.cutSessions.Add(1)
		b.schedule.clear(oldest)
		b.endSession(oldest, codeQuota)
	}
}
