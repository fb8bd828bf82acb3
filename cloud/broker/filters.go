package broker

import (
	"strings"
	"sync"
)

// subscription is what one session asked of one filter.
type subscription struct {
	id                int // subscription identifier; 0: none
	qos               byte
	noLocal           bool
	retainAsPublished bool
}

// Match says whether a filter that the broker has accepted covers a topic (section
// 4.7 of the standard). Handlers use it to answer Retained.
func Match(filter, topic string) bool {
	for {
		f, filterLeft, moreFilter := strings.Cut(filter, "/")
		level, topicLeft, moreTopic := strings.Cut(topic, "/")
		switch {
		case f == "#":
			return true
		case f != "+" && f != level:
			return false
		case !moreTopic:
			return !moreFilter || filterLeft == "#"
		case !moreFilter:
			return false
		}
		filter, topic = filterLeft, topicLeft
	}
}

// filters is the tree of all subscriptions, one level of a topic per level of nodes.
type filters struct {
	mu   sync.RWMutex // guards root and all below
	root node
	size int
}

type node struct {
	children    map[string]*node
	subscribers map[*session]subscription
}

// add makes or replaces a subscription. Filters are well formed (see wellFormed).
func (f *filters) add(filter string, s *session, sub subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := &f.root
	for level := range strings.SplitSeq(filter, "/") {
		child := n.children[level]
		if child == nil {
			child = &node{}
			if n.children == nil {
				n.children = make(map[string]*node)
			}
			n.children[level] = child
		}
		n = child
	}
	if n.subscribers == nil {
		n.subscribers = make(map[*session]subscription)
	}
	if _, existed := n.subscribers[s]; !existed {
		f.size++
	}
	n.subscribers[s] = sub
}

// remove drops a subscription and the branches that nobody needs any more.
func (f *filters) remove(filter string, s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	levels := strings.Split(filter, "/")
	path := make([]*node, 0, len(levels)+1)
	n := &f.root
	for _, level := range levels {
		path = append(path, n)
		if n = n.children[level]; n == nil {
			return
		}
	}
	if _, ok := n.subscribers[s]; !ok {
		return
	}
	delete(n.subscribers, s)
	f.size--
	for i := len(levels) - 1; i >= 0 && len(n.subscribers) == 0 && len(n.children) == 0; i-- {
		delete(path[i].children, levels[i])
		n = path[i]
	}
}

// match gives each session that gets a message on topic, with its subscriptions
// merged: the highest QoS, all identifiers.
func (f *filters) match(topic string) map[*session]merged {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.size == 0 {
		return nil
	}
	found := make(map[*session]merged)
	f.root.match(strings.Split(topic, "/"), found)
	return found
}

// merged is how one message goes to one session.
type merged struct {
	ids               []int
	qos               byte
	local             bool // at least one subscription without no-local
	retainAsPublished bool
	revision          uint32 // of the session, before the topic was matched
}

func (n *node) match(levels []string, found map[*session]merged) {
	// A # matches its parent level too [MQTT-4.7.1-2].
	if child := n.children["#"]; child != nil {
		child.collect(found)
	}
	if len(levels) == 0 {
		n.collect(found)
		return
	}
	for _, level := range [...]string{levels[0], "+"} {
		if child := n.children[level]; child != nil {
			child.match(levels[1:], found)
		}
	}
}

func (n *node) collect(found map[*session]merged) {
	for s, sub := range n.subscribers {
		m, again := found[s]
		if !again {
			m.revision = s.revision.Load()
		}
		m.qos = max(m.qos, sub.qos)
		m.local = m.local || !sub.noLocal
		m.retainAsPublished = m.retainAsPublished || sub.retainAsPublished
		if sub.id > 0 {
			m.ids = append(m.ids, sub.id)
		}
		found[s] = m
	}
}

// len is the number of subscriptions.
func (f *filters) len() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.size
}
