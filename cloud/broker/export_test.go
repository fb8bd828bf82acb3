package broker

import "strings"

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

// WellFormed says whether a filter may be in the tree.
func WellFormed(filter string) bool { return wellFormed(strings.Split(filter, "/")) }
