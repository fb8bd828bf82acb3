package broker

import (
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
)

// attach gives a connection its session: the one that waits under its key, or a new
// one. A connection that has it is told 0x8E. Its will is published before anything of
// the new connection when it has no delay, or when its session ends by this: at a clean
// start, and when the session's expiry was 0 [MQTT-3.1.4-3] (section 3.1.2.5).
func (b *Broker) attach(c *connection, w *will, settings sessionSettings) byte {
	b.makeRoom(c)
	old, s, due, code := b.claim(c, w, settings)
	if code != codeSuccess {
		return code
	}
	if old != nil {
		b.schedule.clear(old)
	}
	if c.client.Kind == principal.Device {
		b.presence.connect(c.key, c.client.Connection, due)
	}
	if old != nil && old != s {
		b.endSession(old, codeTakenOver)
	}
	before, ok := s.take(c, settings)
	if !ok { // the session was cut, or a newer connection has it; then nothing happens here
		b.presence.end(c.key, c.client.Connection, protocol.PresenceLost)
		b.presence.forget(c.key, c.client.Connection)
		return codeUnavailable
	}
	if before != nil {
		before.kick(codeTakenOver)
	}
	c.session = s
	c.sessionPresent = old == s
	return codeSuccess
}

// claim is the part of attach that is atomic: old is the session that was there, s
// the one to use, maybe the same, and due the will of old if it is to be published now.
func (b *Broker) claim(c *connection, w *will, settings sessionSettings) (old, s *session, due *presenceEvent, code byte) {
	number := c.client.Connection
	b.mu.Lock()
	defer b.mu.Unlock()
	old = b.sessions[c.key]
	s = old
	switch {
	case b.closing:
		return nil, nil, nil, codeUnavailable
	case old != nil && old.current > number:
		return nil, nil, nil, codeUnavailable // a newer connection of this client was faster
	case old == nil && !b.roomFor(c.client):
		return nil, nil, nil, codeQuota
	case old == nil || old.endsBy(settings):
		s = &session{broker: b, key: c.key, subscribed: make(map[string]subscription)}
		s.setClient(c.client)
		b.keep(s)
	}
	if old == nil || !old.attached {
		b.connected++
	}
	if old != nil {
		due = old.takeWill(old != s)
	}
	s.current, s.attached, s.will, s.expiry = number, true, w, settings.expiry
	return old, s, due, codeSuccess
}

// endsBy says whether a new connection ends the session instead of going on with it. The
// caller holds Broker.mu.
func (s *session) endsBy(settings sessionSettings) bool {
	return settings.clean || s.attached && s.expiry == 0
}

// takeWill takes the will from a session that has a new connection, or ends by it, and
// gives it back when it is to be published now. The caller holds Broker.mu.
func (s *session) takeWill(ends bool) (due *presenceEvent) {
	if s.will != nil && (ends || s.attached && s.will.delay == 0) {
		due = s.will.event(s)
	}
	s.will = nil
	return due
}

// detach is the end of a connection: its session starts to wait, or ends, and its
// will is due now or later. Without a will, because there was none or a DISCONNECT with
// reason code 0 has discarded it, the device is not online from now on.
func (b *Broker) detach(c *connection) {
	s := c.session
	if s == nil {
		return
	}
	s.leave(c)
	now := time.Now()
	b.mu.Lock()
	current := b.sessions[s.key] == s
	if s.current != c.client.Connection || !s.attached {
		b.mu.Unlock()
		return // a newer connection has it
	}
	s.attached = false
	if current {
		b.connected--
	}
	if b.closing {
		s.will = nil
	}
	s.expireAt = now.Add(s.expiry)
	if !current { // cut while it was connected
		s.expireAt = now
	}
	if s.will != nil {
		s.willAt = now.Add(min(s.will.delay, s.expireAt.Sub(now)))
	}
	silent := s.will == nil && !b.closing
	b.mu.Unlock()
	if silent {
		state := protocol.PresenceLost
		if c.departed {
			state = protocol.PresenceOffline
		}
		b.presence.end(s.key, c.client.Connection, state)
	}
	b.due(s, now)
}

// due does what time has brought to a session without connection: the will, then
// the end. It says again when it wants to be called next.
func (b *Broker) due(s *session, now time.Time) {
	b.mu.Lock()
	if s.attached {
		b.mu.Unlock()
		return
	}
	var due *presenceEvent
	if s.will != nil && !now.Before(s.willAt) {
		due, s.will = s.will.event(s), nil
	}
	expired := !now.Before(s.expireAt)
	next := s.expireAt
	if s.will != nil && s.willAt.Before(next) {
		next = s.willAt
	}
	if expired && b.sessions[s.key] == s {
		b.drop(s)
		if s.expiry > 0 {
			b.counters.expiredSessions.Add(1)
		}
	}
	number := s.current
	closing := b.closing
	b.mu.Unlock()

	if due != nil && !closing {
		b.presence.post(s.key, *due)
	}
	if !expired {
		b.schedule.set(s, next)
		return
	}
	b.endSession(s, codeUnspecified)
	b.presence.forget(s.key, number)
}

// endSession takes a session that is no longer in b.sessions out of everything.
func (b *Broker) endSession(s *session, code byte) {
	filters, conn := s.end()
	for _, filter := range filters {
		b.filters.remove(filter, s)
	}
	if conn != nil {
		conn.kick(code)
	}
}

// endSessions ends what sessions are left when nobody is connected any more.
func (b *Broker) endSessions() {
	b.mu.Lock()
	left := b.sessions
	b.sessions = make(map[string]*session)
	b.mu.Unlock()
	for _, s := range left {
		s.end()
	}
}

// cut ends a session whose queue has overflowed: its client, when it comes back,
// sees by session present 0 that messages are lost.
func (b *Broker) cut(s *session) {
	if b.discard(s, codeQuota) {
		b.counters.cutSessions.Add(1)
		b.log.Warn("a session was cut, its queue is full", "connection", s.client.Load().Connection)
	}
}

// Forget ends the sessions of a vehicle's devices, whether they are connected or not, with a DISCONNECT
// of the given reason code (0x80 and above) to those that are. Their subscriptions and what was queued for
// them are gone; wills count as after any lost connection.
func (b *Broker) Forget(vehicle protocol.VehicleID, code byte) {
	var found []*session
	b.mu.Lock()
	for _, s := range b.sessions {
		if s.client.Load().Vehicle == vehicle && vehicle != "" {
			found = append(found, s)
		}
	}
	b.mu.Unlock()
	for _, s := range found {
		b.discard(s, code)
	}
	b.Disconnect(vehicle, "", code) // whoever has no session yet
}

// discard ends a session before its time, unless it has ended.
func (b *Broker) discard(s *session, code byte) bool {
	b.mu.Lock()
	if b.sessions[s.key] != s {
		b.mu.Unlock()
		return false
	}
	b.drop(s)
	if s.attached {
		b.connected--
	}
	attached := s.attached
	s.expireAt = time.Now()
	s.willAt = s.expireAt
	b.mu.Unlock()
	b.schedule.clear(s)
	b.endSession(s, code)
	if !attached {
		b.due(s, time.Now())
	}
	return true
}

// setExpiry changes the session expiry at DISCONNECT; from zero it stays zero.
func (b *Broker) setExpiry(c *connection, expiry time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := c.session
	if s.current != c.client.Connection {
		return true
	}
	if s.expiry == 0 && expiry > 0 {
		return false
	}
	s.expiry = expiry
	return true
}

// forgetWill is a DISCONNECT with reason code 0.
func (b *Broker) forgetWill(c *connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.session.current == c.client.Connection {
		c.session.will = nil
	}
}
