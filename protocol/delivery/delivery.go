// Package delivery says how messages of each kind travel between vehicle and
// cloud: the priority that a sender gets when it asks for none and the highest
// that it may ask for, how long a message is of use, whether messages keep their
// order, the quality of service, whether the broker retains them, the content
// type, and where a message waits on the vehicle while there is no connection.
//
// There is one table, for both ends: a vehicle sends by it, and the cloud gives a
// message no higher class than the table allows, whatever the vehicle claims.
//
// It is not the place that builds topics (package topics) or that sends.
package delivery

import (
	"strings"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/topics"
)

// Wait says where a message waits on the vehicle while it cannot be sent.
type Wait uint8

// The places. The zero value is of messages that the cloud sends.
const (
	NotSent   Wait = iota // vehicles do not send this kind
	Nowhere               // it is sent while connected, and dropped else
	Newest                // in memory, the newest of each topic until it is acknowledged; gone after a restart
	Buffer                // on disk until it is acknowledged
	EachBirth             // made anew for each connection
)

// Policy is how the messages of one kind travel, or of one class of events or documents.
type Policy struct {
	// Default is the class when the sender asks for none, Ceiling the highest that it
	// may ask for. Both are set. They are the same where nobody has a choice.
	Default, Ceiling protocol.Priority
	// TTL is how long a message is of use after its creation, and so its message expiry.
	// Zero means for ever, unless ByClass is set: then the class says it. Of what the cloud sends each message
	// says its own end, if it has one.
	TTL      time.Duration
	ByClass  bool
	Ordered  bool // a message does not overtake others of its class that are ordered, too
	QoS      byte // 0 or 1
	Retained bool // the broker keeps the newest of each topic [MQTT-3.3.1.3]
	// ContentType is that of the payload; empty: each message has its own.
	ContentType string
	Wait        Wait
}

// Class is the class in which a message travels whose sender asks for one (unset: for none).
func (p Policy) Class(asked protocol.Priority) protocol.Priority {
	if asked == protocol.PriorityUnset || asked > protocol.CS6 {
		asked = p.Default
	}
	return min(asked, p.Ceiling)
}

// Lifetime is how long a message of a class is of use; zero means for ever.
func (p Policy) Lifetime(class protocol.Priority) time.Duration {
	if p.ByClass {
		return class.TimeToLive()
	}
	return p.TTL
}

// Of gives the policy of a topic's kind; of events and documents by their name, too. The policy of
// a topic without a kind is the zero one: nobody sends it.
func Of(t topics.Topic) Policy {
	if int(t.Kind) >= len(kinds) {
		return Policy{}
	}
	p := kinds[t.Kind]
	switch t.Kind {
	case topics.Event:
		return event(p, t.Name)
	case topics.Config:
		p.ContentType = documents[t.Name]
	}
	return p
}

// crash is the event type of the highest class, and the first word of its subtypes.
const crash = "crash"

// event is the policy of events of one type.
func event(p Policy, name string) Policy {
	switch first, _, _ := strings.Cut(name, "."); {
	case first == crash:
		p.Default, p.Ceiling = protocol.CS6, protocol.CS6
	case name == events.TypeStorage:
		// A loss of data explains gaps that stay for ever, so the word on it never expires.
		p.TTL, p.Ordered, p.ContentType = 0, true, protocol.ContentStorage
	}
	return p
}
