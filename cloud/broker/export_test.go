package broker

import (
	"strings"

	"telltale.dev/protocol"
)

// QuotaDelay is how long a refusal for quota waits.
const QuotaDelay = quotaDelay

// Subscriptions is the number of subscriptions in the tree.
func (b *Broker) Subscriptions() int { return b.filters.len() }

// Tree is the subscription tree for tests: which of filters match topic.
func Tree(filterTexts []string, topic string) (matched []bool, left int) {
	var f filters
	sessions := make([]*session, len(filterTexts))
	for i, text := range filterTexts {
		sessions[i] = &session{}
		f.add(text, sessions[i], subscription{qos: 1})
	}
	found := f.match(topic)
	for i, s := range sessions {
		_, ok := found[s]
		matched = append(matched, ok)
		f.remove(filterTexts[i], s)
	}
	return matched, f.len() + len(f.root.children)
}

// FilterCode is what a subscription to filter is answered.
func FilterCode(c Client, filter string) byte { return filterCode(c, filter) }

// PresenceOrder tells a Handler of what connections of one device said: each step is a
// connection that comes ("connect"), or a word of one.
func PresenceOrder(h Handler, steps []PresenceStep) {
	const key = "dev/v/d"
	var b presenceBook
	b.init(h)
	for i, step := range steps {
		e := presenceEvent{presence: protocol.Presence{State: step.Word}, arrival: uint64(i)}
		e.publish.Client.Connection = step.Connection
		if step.Word == "" {
			b.connect(key, step.Connection, nil)
			continue
		}
		b.post(key, e)
	}
	b.wait()
}

// PresenceStep is one step of PresenceOrder; an empty Word is a new connection.
type PresenceStep struct {
	Connection uint64
	Word       protocol.PresenceState
}

// WellFormed says whether a filter may be in the tree.
func WellFormed(filter string) bool { return wellFormed(strings.Split(filter, "/")) }
