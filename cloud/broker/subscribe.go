package broker

import (
	"github.com/mochi-mqtt/server/v2/packets"
)

// subscribe answers a SUBSCRIBE. The SUBACK leaves before the retained messages, and
// those before live ones.
func (b *Broker) subscribe(c *connection, pk packets.Packet) {
	s := c.session
	codes := make([]byte, len(pk.Filters))
	var wanted []wantedSnapshot
	s.beginSnapshot()
	for i, f := range pk.Filters {
		codes[i] = b.subscribeCode(c, f.Filter, f.Qos)
		if codes[i] >= refusedFrom {
			b.counters.subscriptions[codes[i]].Add(1)
			continue
		}
		sub := subscription{id: f.Identifier, qos: codes[i], noLocal: f.NoLocal, retainAsPublished: f.RetainAsPublished}
		existed, code := b.addSubscription(c, f.Filter, sub)
		if code != codeSuccess {
			codes[i] = code
			b.counters.subscriptions[code].Add(1)
			continue
		}
		// Retain handling 0: always, 1: for new subscriptions, 2: never [MQTT-3.3.1-9] to [MQTT-3.3.1-11].
		if f.RetainHandling == 0 || f.RetainHandling == 1 && !existed {
			wanted = append(wanted, wantedSnapshot{f.Filter, sub})
		}
	}
	c.sendControl(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Suback}, PacketID: pk.PacketID, ReasonCodes: codes,
	})
	s.endSnapshot(b.snapshot(s, wanted))
}

type wantedSnapshot struct {
	filter string
	sub    subscription
}

// snapshot asks the handler for the retained messages of new subscriptions.
func (b *Broker) snapshot(s *session, wanted []wantedSnapshot) []entry {
	var entries []entry
	for _, w := range wanted {
		for _, m := range b.cfg.Handler.Retained(w.filter) {
			if !b.mayGet(s, m.Topic) {
				continue
			}
			e := entry{outgoing: newOutgoing(m), qos: min(m.QoS, w.sub.qos), retain: true, snapshot: true}
			if w.sub.id > 0 {
				e.ids = []int{w.sub.id}
			}
			entries = append(entries, e)
		}
	}
	return entries
}

// addSubscription puts a subscription into the tree and into the session. Tree
// first: a session that ends in between takes it out again by itself.
func (b *Broker) addSubscription(c *connection, filter string, sub subscription) (existed bool, code byte) {
	s := c.session
	s.mu.Lock()
	_, existed = s.subscribed[filter]
	full := !existed && len(s.subscribed) >= maxSubscriptions
	s.mu.Unlock()
	if full {
		if c.version < 5 {
			return false, codeUnspecified
		}
		return false, codeQuota
	}
	b.filters.add(filter, s, sub)
	s.mu.Lock()
	gone := s.ended || s.conn != c
	if !gone {
		s.subscribed[filter] = sub
	}
	s.mu.Unlock()
	if gone {
		if !existed {
			b.filters.remove(filter, s)
		}
		return existed, codeUnspecified
	}
	return existed, codeSuccess
}

// unsubscribe answers an UNSUBSCRIBE. What is queued already is still delivered.
func (b *Broker) unsubscribe(c *connection, pk packets.Packet) {
	s := c.session
	codes := make([]byte, len(pk.Filters))
	for i, f := range pk.Filters {
		s.mu.Lock()
		_, existed := s.subscribed[f.Filter]
		current := s.conn == c
		if current {
			delete(s.subscribed, f.Filter)
		}
		s.mu.Unlock()
		if !existed || !current {
			codes[i] = codeNoSubscription
			continue
		}
		b.filters.remove(f.Filter, s)
	}
	c.sendControl(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Unsuback}, PacketID: pk.PacketID, ReasonCodes: codes,
	})
}
