// Package outbox is the one way in which a room of the agent says something to
// the cloud: Put takes a topic and a document. How it travels, and where it waits
// meanwhile, says the table of protocol/delivery and nobody else.
//
//	Put ─┬─ on disk until acknowledged ──────────────► Buffer
//	     └─ newest of its topic, or only while connected ─► Direct
//
// Batches of samples do not come this way: agent/batch commits them together with its
// account of what they hold. Presence does not either: agent/link makes one for each connection.
package outbox

import (
	"errors"
	"fmt"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"

	"telltale.dev/protocol/delivery"
)

// ErrKind is wrapped by the error about a topic whose kind does not come this way.
var ErrKind = errors.New("this kind of message is not put into the outbox")

// Buffer takes records; they are on disk when Append returns.
type Buffer interface {
	Append(recs []buffer.Record, p buffer.Progress) error
}

// Message is what does not wait on disk.
type Message struct {
	Topic       string
	ContentType string
	Class       protocol.Priority
	QoS         byte
	Created     time.Time
	TTL         time.Duration // after Created; 0: for ever
	// Newest: it waits for a connection until a newer one of its topic comes; else it is dropped while there is none.
	Newest  bool
	Payload []byte
}

// Direct sends messages that do not wait on disk. Send does not block, and owns the payload.
type Direct interface {
	Send(Message)
}

// Config of an Outbox. All fields but the last must be set.
type Config struct {
	Vehicle protocol.VehicleID
	Device  protocol.DeviceID
	Buffer  Buffer
	Direct  Direct
	// TimeQuality says how far the times in documents that wait on disk can be trusted; nil: nobody knows.
	TimeQuality func() batches.TimeQuality
}

// Outbox takes documents. Put may be called from any goroutine.
type Outbox struct{ cfg Config }

// New makes an Outbox.
func New(cfg Config) *Outbox {
	if cfg.TimeQuality == nil {
		cfg.TimeQuality = func() batches.TimeQuality { return batches.TimeUnknown }
	}
	return &Outbox{cfg}
}

// Put sends content, as CBOR, on a topic of which Kind and what the kind needs beside vehicle and device is
// set. When it returns nil a document that is to wait on disk is there; others are on their
// way, or dropped. An error of the disk is that of Buffer; a kind that does not come this way gives ErrKind.
func (o *Outbox) Put(t topics.Topic, content any) error {
	t.Vehicle, t.Device = o.cfg.Vehicle, o.cfg.Device
	p := delivery.Of(t)
	if p.Wait != delivery.Buffer && p.Wait != delivery.Newest && p.Wait != delivery.Nowhere {
		return fmt.Errorf("%s: %w", t.Kind.Word(), ErrKind)
	}
	payload, err := document.Marshal(content)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Kind.Word(), err)
	}
	class, created := p.Default, time.Now()
	if p.Wait != delivery.Buffer {
		o.cfg.Direct.Send(Message{
			Topic: t.String(), ContentType: p.ContentType, Class: class, QoS: p.QoS,
			Created: created, TTL: p.Lifetime(class), Newest: p.Wait == delivery.Newest, Payload: payload,
		})
		return nil
	}
	return o.cfg.Buffer.Append([]buffer.Record{{
		Topic: t.String(), ContentType: p.ContentType, Priority: class, Ordered: p.Ordered,
		TimeQuality: o.cfg.TimeQuality(), Created: created, TTL: p.Lifetime(class), Payload: payload,
	}}, buffer.Progress{})
}
