package broker

import (
	"bytes"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// subscribe answers a SUBSCRIBE. The SUBACK leaves before the retained messages, and
// those before live ones.
func (b *Broker) subscribe(c *connection, pk *packets.Packet) {
	s := c.session
	codes := make([]byte, len(pk.Filters))
	var wanted []wantedSnapshot
	s.beginSnapshot()
	revision := s.revision.Load()
	for i, f := range pk.Filters {
		f.Filter = strings.Clone(f.Filter) // else a subscription keeps the whole packet
		sub := subscription{id: f.Identifier, qos: min(f.Qos, 1), noLocal: f.NoLocal, retainAsPublished: f.RetainAsPublished}
		existed, code := b.makeSubscription(c, f.Filter, sub)
		if codes[i] = code; code >= refusedFrom {
			b.counters.subscriptions[code].Add(1)
			continue
		}
		// Retain handling 0: always, 1: for new subscriptions, 2: never [MQTT-3.3.1-9] to [MQTT-3.3.1-11].
		if f.RetainHandling == 0 || f.RetainHandling == 1 && !existed {
			wanted = append(wanted, wantedSnapshot{f.Filter, sub})
		}
	}
	c.sendCodes(packets.Suback, pk.PacketID, codes)
	s.endSnapshot(b.snapshot(s, wanted), revision)
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

// makeSubscription makes a subscription if the client may have it, and gives the code for SUBACK: the
// QoS that was granted, or a refusal.
func (b *Broker) makeSubscription(c *connection, filter string, sub subscription) (existed bool, code byte) {
	c.session.subscribing.Lock()
	defer c.session.subscribing.Unlock()
	granted := b.subscribeCode(c, filter, sub.qos)
	if granted >= refusedFrom {
		return false, granted
	}
	if existed, code = b.addSubscription(c, filter, sub); code == codeSuccess {
		code = granted
	}
	return existed, code
}

// addSubscription puts a subscription into the tree and into the session. Tree
// first: a session that has ended in between does not find it there, so it is taken out here.
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
	ended := s.ended
	gone := ended || s.conn != c
	if !gone {
		s.subscribed[filter] = sub
	}
	s.mu.Unlock()
	if gone {
		if !existed || ended { // whoever ended it may have taken its filters out before this one came in
			b.filters.remove(filter, s)
		}
		return existed, codeUnspecified
	}
	return existed, codeSuccess
}

// unsubscribe answers an UNSUBSCRIBE. What is queued already is still delivered.
func (b *Broker) unsubscribe(c *connection, pk *packets.Packet) {
	codes := make([]byte, len(pk.Filters))
	for i, f := range pk.Filters {
		codes[i] = b.endSubscription(c, f.Filter)
	}
	c.sendCodes(packets.Unsuback, pk.PacketID, codes)
}

// sendCodes answers a SUBSCRIBE or an UNSUBSCRIBE.
func (c *connection) sendCodes(kind byte, id uint16, codes []byte) {
	var buf bytes.Buffer
	encode(&buf, &packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id, ReasonCodes: codes}, c.version)
	c.sendControl(buf.Bytes())
}

// endSubscription drops a subscription, and gives the code for UNSUBACK.
func (b *Broker) endSubscription(c *connection, filter string) byte {
	s := c.session
	s.subscribing.Lock()
	defer s.subscribing.Unlock()
	s.mu.Lock()
	_, existed := s.subscribed[filter]
	existed = existed && s.conn == c
	if existed {
		delete(s.subscribed, filter)
	}
	s.mu.Unlock()
	if !existed {
		return codeNoSubscription
	}
	b.filters.remove(filter, s)
	return codeSuccess
}
