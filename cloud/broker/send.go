package broker

import (
	"slices"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
)

// Outcome is how a message of Send has ended.
type Outcome uint8

// The outcomes.
const (
	// Acknowledged: the device has answered with a PUBACK, whose Code says whether it took the message.
	Acknowledged Outcome = iota + 1
	// Unreachable: the device has no session, or none of its subscriptions with QoS 1 covers the topic, or
	// it may not get it.
	Unreachable
	// Busy: the device has maxTracked messages of Send already, or its queue has no room.
	Busy
	// TooLarge: the device takes no packet as large.
	TooLarge
	// Expired: the message has expired before it was sent.
	Expired
	// Revoked: the subscription was taken away, see Revoke.
	Revoked
	// SessionEnded: the session has ended, or the broker.
	SessionEnded
)

// Settlement is what became of a message of Send.
type Settlement struct {
	Outcome Outcome
	// Code is the reason code of the PUBACK as the device sent it, 0 from those of MQTT 3.1.1: from
	// 0x80 on it has not taken the message. 0 for other outcomes.
	Code byte
	// Sent says whether the message was handed to a connection: the device may have it, whatever the outcome.
	Sent bool
}

// Send delivers a message with QoS 1 to one device and says what became of it: settled is called
// exactly once, whatever happens, at the latest before Run returns. It is called by Send itself or
// from any goroutine, also before Send has returned, with no lock held; it must be quick.
//
// A message whose device has no connection waits for it as others do, and one that was sent before a
// connection was lost is sent again on the next, with DUP. How long a device may take to answer is the
// caller's to say: without a PUBACK only the end of the session settles what was sent.
//
// Send never cuts a session: what does not fit is settled as Busy. For each device it holds maxTracked
// messages at most, which count in the bounds of its queue, too; a caller that goes on pays with Busy.
func (b *Broker) Send(vehicle protocol.VehicleID, device protocol.DeviceID, m Message, settled func(Settlement)) {
	m.QoS, m.Retain = 1, false
	b.mu.Lock()
	s := b.sessions[principal.OfDevice(vehicle, device).URI()]
	b.mu.Unlock()
	if s == nil || !b.mayGet(s, m.Topic) {
		settled(Settlement{Outcome: Unreachable})
		return
	}
	out := newOutgoing(m)
	out.settled = settled
	if refused := s.track(out, time.Now()); refused != 0 {
		settled(Settlement{Outcome: refused})
	}
}

// track queues a message of Send, or says why not.
func (s *session) track(out *outgoing, now time.Time) (refused Outcome) {
	s.mu.Lock()
	defer s.unlock()
	ids, covered := s.covering(out.Topic)
	e := entry{outgoing: out, ids: ids, qos: 1}
	switch {
	case s.ended || !covered:
		return Unreachable
	case s.tooLarge(&e):
		s.broker.counters.tooLarge.Add(1)
		return TooLarge
	case s.tracked >= maxTracked:
		return Busy
	case s.full(&e):
		if s.prune(now); s.full(&e) {
			return Busy
		}
	}
	s.tracked++
	if out.Expiry > 0 {
		out.timer = time.AfterFunc(out.Expiry, s.expire)
	}
	s.push(e)
	return 0
}

// covering gives the identifiers of the subscriptions with QoS 1 that cover a topic, and says whether
// there is one. The caller holds mu.
func (s *session) covering(topic string) (ids []int, covered bool) {
	for filter, sub := range s.subscribed {
		if sub.qos == 0 || !Match(filter, topic) {
			continue
		}
		covered = true
		if sub.id > 0 {
			ids = append(ids, sub.id)
		}
	}
	slices.Sort(ids)
	return ids, covered
}

// told is a settlement that is to be told once mu is free.
type told struct {
	settled    func(Settlement)
	settlement Settlement
}

// drop takes an entry out of the counts, and notes what became of it if it is one of Send. The caller holds
// mu, gives it back by unlock, and has taken the entry from where it was.
func (s *session) drop(e *entry, outcome Outcome, code byte) {
	s.account(e, -1)
	if e.settled == nil {
		return
	}
	s.tracked--
	if e.timer != nil {
		e.timer.Stop()
	}
	s.untold = append(s.untold, told{e.settled, Settlement{outcome, code, e.sentOn != 0}})
}

// unlock gives mu back and tells what was noted meanwhile. The caller holds no other lock.
func (s *session) unlock() {
	untold := s.takeUntold()
	s.mu.Unlock()
	tell(untold)
}

// takeUntold gives what is to be told, once no lock is held. The caller holds mu.
func (s *session) takeUntold() []told {
	untold := s.untold
	s.untold = nil
	return untold
}

func tell(untold []told) {
	for _, t := range untold {
		t.settled(t.settlement)
	}
}

// expire drops what has expired in the queue. What was sent is not dropped [MQTT-3.3.2-5].
func (s *session) expire() {
	s.mu.Lock()
	defer s.unlock()
	now := time.Now()
	s.queue.filter(func(e *entry) bool { return !s.dropExpired(e, now) })
	s.held = slices.DeleteFunc(s.held, func(e entry) bool { return s.dropExpired(&e, now) })
}

// dropExpired drops an entry if it has expired. The caller holds mu.
func (s *session) dropExpired(e *entry, now time.Time) bool {
	if !e.expired(now) {
		return false
	}
	s.broker.counters.expired.Add(1)
	s.drop(e, Expired, 0)
	return true
}
