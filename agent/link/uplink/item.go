package uplink

import (
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link/session"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// kind says what an item is.
type kind uint8

const (
	recordKind   kind = iota // a record of the buffer, at position
	schemaKind               // a schema document
	presenceKind             // birth or farewell; the connection owns it
	messageKind              // of the mailbox
)

// Item is something to publish, from the moment it is taken until the
// server has it, it is set aside, or the connection ends.
type Item struct {
	kind     kind
	position buffer.Position // of a record
	schema   protocol.SchemaHash
	id       protocol.MessageID
	samples  uint32
	ordered  bool
	created  time.Time
	since    time.Time     // start of this boot, when this boot made it; else zero
	ttl      time.Duration // 0: for ever

	topic, contentType, purpose string
	quality                     batches.TimeQuality
	priority                    protocol.Priority
	qos                         byte
	payload                     []byte

	sent    time.Time     // last
	tries   int           // refused so many times
	wait    time.Duration // the last wait between tries
	due     time.Time     // of the next try
	quota   bool          // held back since the server said that a quota is exceeded (0x97)
	answer  byte          // the server's reason code, once answered
	replied bool          // the server has answered since it was sent last
	suspect bool          // a record that was kept back as a suspect, or the schema that goes before one
}

func recordItem(e buffer.Entry) *Item {
	r := e.Record
	return &Item{
		kind: recordKind, position: e.Position, schema: r.Schema, id: r.ID, samples: r.Samples, ordered: r.Ordered,
		created: r.Created, ttl: r.TTL, topic: r.Topic, contentType: r.ContentType, purpose: r.Purpose, quality: r.TimeQuality,
		priority: r.Priority, qos: 1, payload: r.Payload,
	}
}

// remaining is how long the item is still of use; forever is true when it has no
// end. A creation time in the future, or an unknown one, counts as now: the clock was set since.
// It may have been set forward, too: nothing is older than the boot that made it, by the
// monotonic clock.
func (it *Item) remaining(now time.Time) (left time.Duration, forever bool) {
	if it.ttl == 0 {
		return 0, true
	}
	if it.created.IsZero() || it.created.After(now) {
		return it.ttl, false
	}
	age := now.Sub(it.created)
	if !it.since.IsZero() {
		age = min(age, now.Sub(it.since))
	}
	return it.ttl - age, false
}

// properties are those of the publish, without the alias.
func (it *Item) properties(now time.Time) *paho.PublishProperties {
	p := &paho.PublishProperties{ContentType: it.contentType}
	if left, forever := it.remaining(now); !forever {
		p.MessageExpiry = session.Seconds(max(left, time.Second))
	}
	if name := it.priority.String(); name != "" {
		p.User.Add(protocol.PropPriority, name)
	}
	if it.id.Seq != 0 {
		p.User.Add(protocol.PropMessageID, it.id.String())
	}
	if it.purpose != "" {
		p.User.Add(protocol.PropPurpose, it.purpose)
	}
	if word := it.quality.String(); word != "" {
		p.User.Add(protocol.PropTimeQuality, word)
	}
	return p
}

// Word is an item of the connection's own, such as its birth: not retried, and retained if the server can.
func Word(topic, contentType string, class protocol.Priority, payload []byte) *Item {
	return &Item{kind: presenceKind, topic: topic, contentType: contentType, priority: class, qos: 1, payload: payload}
}

// Done says whether nothing is to come for an item any more: it was answered, or never sent.
func (it *Item) Done() bool { return it.replied || it.sent.IsZero() }

// Stored says whether the server has accepted an item.
func (it *Item) Stored() bool { return it.replied && judge(it.answer) == stored }
