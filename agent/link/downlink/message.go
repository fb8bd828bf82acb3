package downlink

import (
	"time"

	"telltale.dev/protocol/topics"
)

// Message is one message from the cloud.
type Message struct {
	Topic       topics.Topic
	Payload     []byte
	ContentType string
	Correlation []byte     // MQTT Correlation Data; nil: none
	Response    string     // MQTT Response Topic; never followed without a look at what it says
	User        []Property // MQTT user properties, in their order
	QoS         byte       // 0 or 1
	Retained    bool       // it was kept by the broker, and may have been sent long ago
	Received    time.Time
	Expiry      time.Duration // for how long after Received it may be acted upon, if Expires
	Expires     bool

	// restored: it comes from before a restart, so that only the wall clock knows its age.
	restored bool
}

// Property is a user property.
type Property struct {
	_     struct{} `cbor:",toarray"`
	Key   string
	Value string
}

// Expired says whether a message may no longer be acted upon [MQTT-3.3.2-5].
//
// The age is the larger one of two: by the monotonic clock, which nobody sets but which stands
// still while the machine sleeps, and by the wall clock, which may be set. After a restart there is
// the wall clock alone; when it stands before the reception nobody knows the age, and the message counts as expired.
func (m *Message) Expired(now time.Time) bool {
	if !m.Expires {
		return false
	}
	wall := now.Round(0).Sub(m.Received.Round(0))
	if m.restored && wall < 0 {
		return true
	}
	return max(now.Sub(m.Received), wall) >= m.Expiry
}
