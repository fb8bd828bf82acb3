package link_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/agent/link"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// closedUntil refuses connections until ready.
func closedUntil(ready *atomic.Bool) func(int, *packets.Connect, *packets.Connack) {
	return func(_ int, _ *packets.Connect, ca *packets.Connack) {
		if !ready.Load() {
			ca.ReasonCode = 0x88
		}
	}
}

// TestMessagesThatDoNotWaitOnDisk: the newest of a topic waits for the connection and for its acknowledgement;
// what is to be sent only while connected is dropped, and counted, while there is none.
func TestMessagesThatDoNotWaitOnDisk(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	var accepted atomic.Int64
	s := serve(t, &server{connack: closedUntil(&ready), answer: func(p publish) byte {
		if p.topic.Kind == topics.State && accepted.Add(1) == 1 {
			return noAnswer
		}
		return 0
	}}, nil)
	say := func(l *link.Link, kind topics.Kind, text string, newest bool, ttl time.Duration) {
		topic := topics.Topic{Kind: kind, Vehicle: vid, Device: did}
		l.Send(link.Message{Topic: topic.String(), Class: protocol.CS3, QoS: 1, Created: time.Now(), TTL: ttl, Newest: newest, Payload: []byte(text)})
	}
	r := start(t, newMemory(), func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	say(r.Link, topics.State, "old", true, 0)
	say(r.Link, topics.State, "new", true, 0)
	say(r.Link, topics.Checkin, "too late", true, time.Nanosecond)
	say(r.Link, topics.Health, "nobody listens", false, 0)
	ready.Store(true)
	eventually(t, "the newest arrives", func() bool { return complete(s.received(), "new") })
	s.cut()
	eventually(t, "it arrives again, since it was not acknowledged", func() bool { return len(payloads(s.received())) == 2 })
	say(r.Link, topics.Health, "while connected", false, 0)
	eventually(t, "what does not wait arrives", func() bool { return complete(s.received(), "while connected") })
	before := len(presences(t, s.received()))
	s.cut()
	eventually(t, "another connection", func() bool { return len(presences(t, s.received())) > before })
	r.stop()
	if got, want := payloads(s.received()), []string{"new", "new", "while connected"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := r.Stats().Dropped; got != 1 {
		t.Errorf("dropped: got %d, want 1", got)
	}
}

// TestMailboxIsBounded: beyond the bound the message that waits longest goes.
func TestMailboxIsBounded(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	s := serve(t, &server{connack: closedUntil(&ready)}, nil)
	r := start(t, newMemory(), func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	for i := range 40 {
		topic := topics.Topic{Kind: topics.Event, Vehicle: vid, Name: fmt.Sprint("e", i)}
		r.Send(link.Message{Topic: topic.String(), Class: protocol.CS3, QoS: 1, Created: time.Now(), Newest: true, Payload: []byte(fmt.Sprint(i))})
	}
	ready.Store(true)
	eventually(t, "the newest arrive", func() bool { return complete(s.received(), "8", "39") })
	if complete(s.received(), "7") || r.Stats().Dropped != 8 {
		t.Errorf("got %q and %d dropped, want the newest 32 and 8 dropped", payloads(s.received()), r.Stats().Dropped)
	}
}

// TestQoS0 goes out without an answer and takes no place of the window.
func TestQoS0(t *testing.T) {
	t.Parallel()
	s := serve(t, &server{loose: true}, nil)
	r := start(t, newMemory(), func(c *link.Config) { c.Endpoints, c.Window = []string{"mqtt://" + s.addr}, 1 })
	eventually(t, "connected", func() bool { return r.Stats().Connected })
	for i := range 5 {
		topic := topics.Topic{Kind: topics.Event, Vehicle: vid, Name: fmt.Sprint("e", i)}
		r.Send(link.Message{Topic: topic.String(), Class: protocol.CS1, QoS: 0, Created: time.Now(), Payload: []byte(fmt.Sprint(i))})
	}
	eventually(t, "all arrive", func() bool { return complete(s.received(), "0", "1", "2", "3", "4") })
	for _, p := range s.received()[1:] {
		if p.qos != 0 || p.id != 0 {
			t.Errorf("%s: got QoS %d and identifier %d, want neither", p.payload, p.qos, p.id)
		}
	}
}
