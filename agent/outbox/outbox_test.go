package outbox_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/outbox"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"

	"telltale.dev/protocol/delivery"
)

// ends keeps what an outbox gives away.
type ends struct {
	records  []buffer.Record
	messages []outbox.Message
	refuse   error
}

func (e *ends) Append(recs []buffer.Record, p buffer.Progress) error {
	if e.refuse != nil {
		return e.refuse
	}
	e.records = append(e.records, recs...)
	return nil
}

func (e *ends) Send(m outbox.Message) { e.messages = append(e.messages, m) }

// TestEveryKind: each kind goes where the table says, with what the table says, or is refused.
func TestEveryKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for k := topics.Unset; k == topics.Unset || k.Word() != "unset"; k++ {
			e := &ends{}
			o := outbox.New(outbox.Config{Vehicle: "anna", Device: "tcu", Buffer: e, Direct: e, TimeQuality: func() batches.TimeQuality { return batches.TimeRTC }})
			topic := topics.Topic{Kind: k, Name: "name", ID: "id", Campaign: "c"}
			err := o.Put(topic, map[string]int{"a": 1})
			topic.Vehicle, topic.Device = "anna", "tcu"
			p := delivery.Of(topic)
			switch p.Wait {
			case delivery.Buffer:
				if len(e.records) != 1 || len(e.messages) != 0 || err != nil {
					t.Errorf("%s: got %d records, %d messages, %v, want one record", k.Word(), len(e.records), len(e.messages), err)
					continue
				}
				r := e.records[0]
				if r.Topic != topic.String() || r.ContentType != p.ContentType || r.Priority != p.Default || r.Ordered != p.Ordered ||
					r.TTL != p.Lifetime(p.Default) || r.TimeQuality != batches.TimeRTC || !r.Created.Equal(time.Now()) || string(r.Payload) != "\xa1aa\x01" {
					t.Errorf("%s: got %+v, want it by the table %+v", k.Word(), r, p)
				}
			case delivery.Newest, delivery.Nowhere:
				if len(e.records) != 0 || len(e.messages) != 1 || err != nil {
					t.Errorf("%s: got %d records, %d messages, %v, want one message", k.Word(), len(e.records), len(e.messages), err)
					continue
				}
				m := e.messages[0]
				if m.Topic != topic.String() || m.ContentType != p.ContentType || m.Class != p.Default || m.QoS != p.QoS ||
					m.TTL != p.TTL || m.Newest != (p.Wait == delivery.Newest) || string(m.Payload) != "\xa1aa\x01" {
					t.Errorf("%s: got %+v, want it by the table %+v", k.Word(), m, p)
				}
			default:
				if !errors.Is(err, outbox.ErrKind) || len(e.records)+len(e.messages) > 0 {
					t.Errorf("%s: got %v, want it refused", k.Word(), err)
				}
			}
		}
	})
}

// TestErrors: the disk's error is the caller's, and what cannot be encoded goes nowhere.
func TestErrors(t *testing.T) {
	e := &ends{refuse: errors.New("no room")}
	o := outbox.New(outbox.Config{Vehicle: "anna", Device: "tcu", Buffer: e, Direct: e})
	status := topics.Topic{Kind: topics.ConfigStatus, Name: "campaigns"}
	if err := o.Put(status, document.Status{}); !errors.Is(err, e.refuse) {
		t.Errorf("got %v, want the disk's error", err)
	}
	e.refuse = nil
	if err := o.Put(status, make(chan int)); err == nil || len(e.records) > 0 {
		t.Errorf("got %v and %d records, want an error alone", err, len(e.records))
	}
	if err := o.Put(status, document.Status{Version: 2, Document: "campaigns"}); err != nil {
		t.Fatal(err)
	}
	var got document.Status
	if err := document.Unmarshal(e.records[0].Payload, &got); err != nil || got.Document != "campaigns" {
		t.Errorf("got %+v, %v, want the document again", got, err)
	}
}
