package broker_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
	"telltale.dev/protocol/topics"
)

// TestAcknowledgementsAreOrderedAndDoNotSerialise pipelines publishes into a store
// that takes 400 ms and finishes in any order.
func TestAcknowledgementsAreOrderedAndDoNotSerialise(t *testing.T) {
	const n = 100
	const latency = 400 * time.Millisecond
	var group sync.WaitGroup
	handler := &cloud{publish: func(_ broker.Publish, done func(byte)) {
		group.Go(func() {
			time.Sleep(latency - time.Duration(rand.IntN(100))*time.Millisecond)
			done(0)
		})
	}}
	s := start(t, handler, func(c *broker.Config) { c.ReceiveMaximum = n })
	r := s.device("v", "d")
	begin := time.Now()
	for id := uint16(1); id <= n; id++ {
		r.send(paho.PUBLISH, &paho.Publish{PacketID: id, QoS: 1, Topic: "v1/v/up/telemetry/c", Payload: []byte("x")})
	}
	for want := uint16(1); want <= n; want++ {
		if got, code := r.puback(); got != want || code != 0 {
			t.Fatalf("puback: got id %d code %#x, want id %d code 0", got, code, want)
		}
	}
	if took := time.Since(begin); took > n*latency/4 {
		t.Errorf("%d publishes took %v, want about %v", n, took, latency)
	}
	group.Wait()
	if got := s.Stats(); got.Inflight != 0 || got.InflightBytes != 0 || got.Publishes != n {
		t.Errorf("stats: got %+v, want %d publishes and none in flight", got, n)
	}
}

func TestPublishReachesTheHandlerWhole(t *testing.T) {
	handler := &cloud{}
	s := start(t, handler, nil)
	r := s.device("v", "d")
	r.send(paho.PUBLISH, &paho.Publish{PacketID: 9, QoS: 1, Topic: "v1/v/up/telemetry/camp", Payload: []byte("batch"),
		Properties: &paho.Properties{
			ContentType: "application/x", MessageExpiry: ptr(uint32(60)),
			User: []paho.User{{Key: "pr", Value: "CS4"}, {Key: "id", Value: "d.1.1"}, {Key: "pr", Value: "CS6"}},
		}})
	if id, code := r.puback(); id != 9 || code != 0 {
		t.Fatalf("puback: got %d, %#x", id, code)
	}
	got := handler.all()[0]
	want := topics.Topic{Kind: topics.Telemetry, Vehicle: "v", Campaign: "camp"}
	if got.Topic != want || string(got.Payload) != "batch" || got.ContentType != "application/x" || got.Retain || got.QoS != 1 {
		t.Errorf("got %+v", got)
	}
	if got.Expiry != time.Minute || got.Properties["pr"] != "CS4" || got.Properties["id"] != "d.1.1" {
		t.Errorf("got expiry %v, properties %v", got.Expiry, got.Properties)
	}
	if got.Client.Vehicle != "v" || got.Client.Device != "d" || got.Client.Connection == 0 || got.Received.IsZero() {
		t.Errorf("got client %+v, received %v", got.Client, got.Received)
	}
}

func TestHandlerCodesAreTold(t *testing.T) {
	handler := &cloud{publish: func(p broker.Publish, done func(byte)) {
		done(p.Payload[0])
		done(0) // a second call changes nothing
	}}
	s := start(t, handler, nil)
	r := s.device("v", "d")
	for i, code := range []byte{0x00, 0x97, 0x83, 0x00, 0x87, 0x99} {
		if got := r.publish(uint16(i+1), "v1/v/up/telemetry/c", string([]byte{code})); got != code {
			t.Errorf("publish %d: got %#x, want %#x", i, got, code)
		}
	}
	if got := s.Stats().Refused; got[0x97] != 1 || got[0x87] != 1 {
		t.Errorf("refused: got %v", got)
	}
	if got := s.Stats().Inflight; got != 0 {
		t.Errorf("in flight: got %d, want 0", got)
	}
}

func TestWhoMayPublish(t *testing.T) {
	handler := &cloud{}
	s := start(t, handler, nil)
	device, operator := s.device("v", "d"), s.operator("anna")
	cases := []struct {
		who   *raw
		topic string
		want  byte
	}{
		{device, "v1/v/up/telemetry/c", 0},
		{device, "v1/v/up/event/storage", 0},
		{device, "v1/v/up/health/d", 0x90},
		{device, "v1/v/up/state", 0x90},
		{device, "v1/v/up/health/other", 0x87},
		{device, "v1/other/up/telemetry/c", 0x87},
		{device, "v1/v/down/config/campaigns", 0x87},
		{device, "v1/v/down/fetch", 0x87},
		{device, "v1/ops/config/campaign/c", 0x87},
		{device, "v1/bcast/de/weather/u33", 0x87},
		{device, "v1/v/up/nonsense/x", 0x90},
		{device, "v1/v/up/state/deeper", 0x90},
		{device, "$SYS/broker/version", 0x90},
		{device, "$share/g/v1/v/up/telemetry/c", 0x90},
		{device, "v1//up/telemetry/c", 0x90},
		{device, strings.Repeat("a/", 3000), 0x90},
		{operator, "v1/ops/config/campaign/c", 0},
		{operator, "v1/ops/config/policy/c", 0x90},
		{operator, "v1/ops/config/campaign/c/result", 0x87},
		{operator, "v1/v/up/telemetry/c", 0x87},
		{operator, "v1/v/up/presence/d", 0x87},
		{operator, "v1/v/down/config/campaigns", 0x87},
		{operator, "$SYS/broker/version", 0x90},
	}
	accepted := 0
	for i, c := range cases {
		if got := c.who.publish(uint16(i+1), c.topic, "x"); got != c.want {
			t.Errorf("%.40s: got %#x, want %#x", c.topic, got, c.want)
		}
		if c.want == 0 {
			accepted++
		}
	}
	if got := len(handler.all()); got != accepted {
		t.Errorf("the handler got %d publishes, want %d", got, accepted)
	}
	device.alive()
	operator.alive()
}

// aliased publishes with QoS 1 and a topic alias; answered wants its PUBACK.
func aliased(r *raw, id, alias uint16, topic string) {
	r.t.Helper()
	r.send(paho.PUBLISH, &paho.Publish{PacketID: id, QoS: 1, Topic: topic, Payload: []byte("x"),
		Properties: &paho.Properties{TopicAlias: &alias}})
}

func answered(r *raw, id uint16, code byte) {
	r.t.Helper()
	if got, gotCode := r.puback(); got != id || gotCode != code {
		r.t.Errorf("puback: got id %d code %#x, want id %d code %#x", got, gotCode, id, code)
	}
}

// TestAliasSmuggle: an alias that was last set to a foreign topic stays refused.
func TestAliasSmuggle(t *testing.T) {
	handler := &cloud{}
	s := start(t, handler, nil)
	t.Run("smuggle", func(t *testing.T) {
		r := s.device("v", "d2")
		aliased(r, 1, 1, "v1/v/up/telemetry/c")
		answered(r, 1, 0)
		aliased(r, 2, 1, "v1/other/up/telemetry/c")
		answered(r, 2, 0x87)
		before := len(handler.all())
		aliased(r, 3, 1, "")
		answered(r, 3, 0x87)
		if got := len(handler.all()); got != before {
			t.Errorf("the handler got %d publishes more, want none", got-before)
		}
	})
	t.Run("smuggle by $SYS", func(t *testing.T) {
		r := s.device("v", "d3")
		aliased(r, 1, 1, "v1/v/up/telemetry/c")
		answered(r, 1, 0)
		aliased(r, 2, 1, "$SYS/x")
		if got := r.closed(); got != 0x90 {
			t.Errorf("disconnect: got %#x, want 0x90", got)
		}
	})
}

func TestTopicAliases(t *testing.T) {
	var revoked atomic.Bool
	handler := &cloud{publish: func(p broker.Publish, done func(byte)) {
		if revoked.Load() && p.Topic.Kind == topics.Telemetry {
			done(0x87)
			return
		}
		done(0)
	}}
	s := start(t, handler, nil)
	t.Run("resolved", func(t *testing.T) {
		r := s.device("v", "d1")
		aliased(r, 1, 32, "v1/v/up/telemetry/c")
		answered(r, 1, 0)
		aliased(r, 2, 32, "")
		answered(r, 2, 0)
		all := handler.all()
		if got := all[len(all)-1].Topic.Kind; got != topics.Telemetry {
			t.Errorf("topic: got %v, want state", got)
		}
	})
	t.Run("revoke while aliased", func(t *testing.T) {
		r := s.device("v", "d4")
		aliased(r, 1, 1, "v1/v/up/telemetry/c")
		answered(r, 1, 0)
		revoked.Store(true)
		defer revoked.Store(false)
		aliased(r, 2, 1, "")
		answered(r, 2, 0x87)
	})
	for name, alias := range map[string]uint16{"never set": 7, "beyond the maximum": 33} {
		t.Run(name, func(t *testing.T) {
			r := s.device("v", fmt.Sprintf("d%d", alias))
			aliased(r, 1, alias, "")
			if got := r.closed(); got != 0x94 {
				t.Errorf("disconnect: got %#x, want 0x94", got)
			}
		})
	}
}

func TestQoS2IsRefused(t *testing.T) {
	handler := &cloud{}
	s := start(t, handler, nil)
	r := s.device("v", "d")
	r.send(paho.PUBLISH, &paho.Publish{PacketID: 1, QoS: 2, Topic: "v1/v/up/telemetry/c", Payload: []byte("x")})
	if got := r.closed(); got != 0x9B {
		t.Errorf("disconnect: got %#x, want 0x9b", got)
	}
	if got := len(handler.all()); got != 0 {
		t.Errorf("the handler got %d publishes, want none", got)
	}
}

func TestQoS0IsHandedOn(t *testing.T) {
	handler := &cloud{}
	s := start(t, handler, nil)
	r := s.device("v", "d")
	r.send(paho.PUBLISH, &paho.Publish{Topic: "v1/v/up/telemetry/c", Payload: []byte("x")})
	r.send(paho.PUBLISH, &paho.Publish{Topic: "v1/other/up/telemetry/c", Payload: []byte("x")})
	r.alive()
	if got := len(handler.all()); got != 1 {
		t.Errorf("the handler got %d publishes, want 1", got)
	}
}

// held is a handler that keeps every done.
type held struct {
	cloud
	mu    sync.Mutex
	dones []func(byte)
}

func newHeld() *held {
	h := &held{}
	h.publish = func(_ broker.Publish, done func(byte)) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.dones = append(h.dones, done)
	}
	return h
}

func (h *held) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.dones)
}

func (h *held) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, done := range h.dones {
		done(0)
	}
	h.dones = nil
}

// TestReceiveMaximumOfOneClient: who does not keep to it waits, and is not cut.
func TestReceiveMaximumOfOneClient(t *testing.T) {
	h := newHeld()
	s := start(t, h, func(c *broker.Config) { c.ReceiveMaximum = 8 })
	r := s.device("v", "d")
	send := func() {
		for id := uint16(1); id <= 20; id++ {
			r.send(paho.PUBLISH, &paho.Publish{PacketID: id, QoS: 1, Topic: "v1/v/up/telemetry/c"})
		}
	}
	send()
	for _, want := range []int{8, 8, 4} {
		eventually(t, "a full window", func() bool { return h.len() == want })
		r.silent()
		h.release()
		for range want {
			r.puback()
		}
	}
	r.alive()

	send()
	eventually(t, "a full window", func() bool { return h.len() == 8 })
	s.Disconnect("v", "d", 0x98)
	if got := r.closed(); got != 0x98 {
		t.Errorf("disconnect of a client that waits: got %#x, want 0x98", got)
	}
	eventually(t, "nothing in flight", func() bool {
		h.release() // late answers to a client that is gone, whose reader may have had more of it
		return s.Stats().Inflight == 0
	})
}

func TestBoundOverAllClients(t *testing.T) {
	for name, change := range map[string]func(*broker.Config){
		"messages": func(c *broker.Config) { c.MaxInflight = 3 },
		"bytes":    func(c *broker.Config) { c.MaxInflightBytes = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeld()
			s := start(t, h, change)
			r := s.device("v", "d")
			for id := uint16(1); id <= 3; id++ {
				r.send(paho.PUBLISH, &paho.Publish{PacketID: id, QoS: 1, Topic: "v1/v/up/telemetry/c", Payload: []byte("x")})
			}
			other := s.device("w", "e")
			eventually(t, "three in flight", func() bool { return h.len() == 3 })
			if got := other.publish(1, "v1/w/up/telemetry/c", "x"); got != 0x97 {
				t.Errorf("got %#x, want 0x97", got)
			}
			h.release()
			for id := uint16(1); id <= 3; id++ {
				if got, code := r.puback(); got != id || code != 0 {
					t.Errorf("got id %d code %#x", got, code)
				}
			}
		})
	}
}

// TestVersion3ClientIsCutOnRefusal: MQTT 3.1.1 has no negative acknowledgement, and
// an acknowledgement would claim that the message is stored.
func TestVersion3ClientIsCutOnRefusal(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := s.dial(s.ca.client("urn:dev:v:d"))
	v3 := []byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01d")
	if _, err := r.Write(v3); err != nil {
		t.Fatal(err)
	}
	if got := readBytes(t, r.Conn, 4); got != "\x20\x02\x00\x00" {
		t.Fatalf("connack: got %x", got)
	}
	publish := "\x32\x17\x00\x13v1/v/up/telemetry/c\x00\x01"
	if _, err := r.Write([]byte(publish)); err != nil {
		t.Fatal(err)
	}
	if got := readBytes(t, r.Conn, 4); got != "\x40\x02\x00\x01" {
		t.Fatalf("puback: got %x", got)
	}
	if _, err := r.Write([]byte(strings.Replace(publish, "/v/", "/w/", 1))); err != nil {
		t.Fatal(err)
	}
	if got := readBytes(t, r.Conn, 4); got != "" {
		t.Errorf("after a refusal: got %x, want the connection closed", got)
	}
}

// TestVersion3ClientWaits: it does not know our receive maximum, so it is not cut.
func TestVersion3ClientWaits(t *testing.T) {
	h := newHeld()
	s := start(t, h, func(c *broker.Config) { c.ReceiveMaximum = 2 })
	r := s.dial(s.ca.client("urn:dev:v:d"))
	if _, err := r.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01d")); err != nil {
		t.Fatal(err)
	}
	readBytes(t, r.Conn, 4)
	for id := byte(1); id <= 5; id++ {
		if _, err := r.Write(append([]byte("\x32\x17\x00\x13v1/v/up/telemetry/c\x00"), id)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 2, 1} {
		eventually(t, "window", func() bool { return h.len() == want })
		time.Sleep(20 * time.Millisecond)
		if got := h.len(); got != want {
			t.Errorf("the handler holds %d, want %d", got, want)
		}
		h.release()
	}
	if got, want := readBytes(t, r.Conn, 20), "\x40\x02\x00\x01\x40\x02\x00\x02\x40\x02\x00\x03\x40\x02\x00\x04\x40\x02\x00\x05"; got != want {
		t.Errorf("pubacks: got %x, want %x", got, want)
	}
}

func readBytes(t *testing.T, conn *tls.Conn, n int) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, n)
	got := 0
	for got < n {
		m, err := conn.Read(buf[got:])
		got += m
		if err != nil {
			break
		}
	}
	return string(buf[:got])
}

// TestFloodIsHeldBack: who ignores 0x97 gets one receive maximum of publishes
// through in each delay, while others are served at once.
func TestFloodIsHeldBack(t *testing.T) {
	const window, rounds = 4, 4
	handler := &cloud{publish: func(p broker.Publish, done func(byte)) {
		if p.Client.Vehicle == "flood" {
			done(0x97)
			return
		}
		done(0)
	}}
	s := start(t, handler, func(c *broker.Config) { c.ReceiveMaximum = window })
	flood, other := s.device("flood", "f"), s.device("v", "d")
	begin := time.Now()
	for id := uint16(1); id <= window*rounds; id++ {
		if id > window {
			if got, code := flood.puback(); got != id-window || code != 0x97 {
				t.Fatalf("puback: got id %d code %#x, want id %d code 0x97", got, code, id-window)
			}
		}
		flood.send(paho.PUBLISH, &paho.Publish{PacketID: id, QoS: 1, Topic: "v1/flood/up/telemetry/c", Payload: []byte("x")})
		if code := other.publish(id, "v1/v/up/telemetry/c", "x"); code != 0 {
			t.Errorf("other: got code %#x, want 0", code)
		}
	}
	for id := uint16(window*(rounds-1) + 1); id <= window*rounds; id++ {
		if got, code := flood.puback(); got != id || code != 0x97 {
			t.Fatalf("puback: got id %d code %#x, want id %d code 0x97", got, code, id)
		}
	}
	if took := time.Since(begin); took < (rounds-1)*broker.QuotaDelay {
		t.Errorf("%d refused publishes took %v, want at least %v", window*rounds, took, (rounds-1)*broker.QuotaDelay)
	}
	if got := s.Stats(); got.Inflight != 0 || got.Refused[0x97] != window*rounds {
		t.Errorf("stats: got %+v, want %d refused and none in flight", got, window*rounds)
	}
}

// TestReplyTopics: an operator has answers sent only below its own prefix; what devices say of replies is nothing.
func TestReplyTopics(t *testing.T) {
	var got broker.Publish
	s := start(t, &cloud{publish: func(p broker.Publish, done func(byte)) { got = p; done(0) }}, nil)
	operator, device := s.operator("anna"), s.device("v", "d")
	for i, c := range []struct {
		who    *raw
		topic  string
		data   int // bytes of correlation data
		want   byte
		handed string
	}{
		{operator, "v1/ops/reply/anna", 0, 0, "v1/ops/reply/anna"},
		{operator, "v1/ops/reply/anna/push/7", 1024, 0, "v1/ops/reply/anna/push/7"},
		{operator, "", 16, 0, ""},
		{operator, "v1/ops/reply/anna", 1025, 0x97, ""},
		{operator, "v1/ops/reply/ben", 0, 0x87, ""},
		{operator, "v1/ops/reply/annabel", 0, 0x87, ""},
		{operator, "v1/ops/reply", 0, 0x87, ""},
		{operator, "v1/ops/config/campaign/c/result", 0, 0x87, ""},
		{operator, "v1/v/down/config/campaigns", 0, 0x87, ""},
		{operator, "v1/ops/reply/anna/1/2/3/4/5", 0, 0x87, ""},
		{operator, "v1/ops/reply/anna/" + strings.Repeat("x", 256), 0, 0x87, ""},
		{device, "v1/ops/reply/anna", 16, 0, ""},
	} {
		got = broker.Publish{}
		to := "v1/ops/config/campaign/c"
		if c.who == device {
			to = "v1/v/up/telemetry/c"
		}
		c.who.send(paho.PUBLISH, &paho.Publish{PacketID: uint16(i + 1), QoS: 1, Topic: to, Payload: []byte("x"),
			Properties: &paho.Properties{ResponseTopic: c.topic, CorrelationData: make([]byte, c.data)}})
		if _, code := c.who.puback(); code != c.want || got.Reply != c.handed {
			t.Errorf("%.40s: got PUBACK %#x and reply to %q, want %#x, %q", c.topic, code, got.Reply, c.want, c.handed)
		}
		if c.want == 0 && c.who == operator && len(got.Correlation) != c.data {
			t.Errorf("%.40s: got %d bytes of correlation data, want %d", c.topic, len(got.Correlation), c.data)
		}
	}
}
