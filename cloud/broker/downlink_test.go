package broker_test

import (
	"crypto/tls"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
)

const configTopic = "v1/v/down/config/campaigns"

// resumable makes a CONNECT that keeps its session.
func resumable(change func(*paho.Connect)) func(*paho.Connect) {
	return func(c *paho.Connect) {
		c.CleanStart = false
		c.Properties.SessionExpiryInterval = ptr(uint32(300))
		if change != nil {
			change(c)
		}
	}
}

// receiver is a device that reads its documents and can come back.
type receiver struct {
	*stage
	config *tls.Config
}

func newReceiver(s *stage) *receiver { return &receiver{s, s.ca.client("urn:dev:v:d")} }

func (r *receiver) join(change func(*paho.Connect)) (*raw, *paho.Connack) {
	r.t.Helper()
	return r.stage.join(r.config, connectPacket("d", resumable(change)))
}

func (r *receiver) subscribed(change func(*paho.Connect)) *raw {
	r.t.Helper()
	conn, _ := r.join(change)
	if codes := conn.subscribe(paho.SubOptions{Topic: "v1/v/down/config/+", QoS: 1}); codes[0] != 1 {
		r.t.Fatalf("suback: got %#x, want QoS 1", codes)
	}
	return conn
}

func numbered(i int) broker.Message {
	return broker.Message{Topic: configTopic, Payload: fmt.Appendf(nil, "%d", i), QoS: 1}
}

// TestReceiveMaximumIsKept: mochi delivered 10 of these 100 and then nothing.
func TestReceiveMaximumIsKept(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := newReceiver(s).subscribed(func(c *paho.Connect) { c.Properties.ReceiveMaximum = ptr(uint16(5)) })
	for i := range 100 {
		s.Deliver(numbered(i))
	}
	var waiting []uint16
	for i := range 100 {
		p := r.message()
		if got, want := string(p.Payload), fmt.Sprint(i); got != want || p.Duplicate || p.QoS != 1 {
			t.Fatalf("message: got %q (dup %v, QoS %d), want %q", got, p.Duplicate, p.QoS, want)
		}
		waiting = append(waiting, p.PacketID)
		if len(waiting) == 5 {
			if i == 4 {
				r.silent()
			}
			for _, id := range waiting {
				r.acknowledge(id)
			}
			waiting = nil
		}
	}
	r.alive()
	eventually(t, "queue empty", func() bool { return s.Stats().Queued == 0 && s.Stats().QueuedBytes == 0 })
}

// TestResumptionSendsAgainInOrder: what was in flight comes first, with DUP and the
// same packet id, then what came while the client was away.
func TestResumptionSendsAgainInOrder(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	r := device.subscribed(func(c *paho.Connect) { c.Properties.ReceiveMaximum = ptr(uint16(4)) })
	for i := range 8 {
		s.Deliver(numbered(i))
	}
	ids := map[string]uint16{}
	for range 4 {
		p := r.message()
		ids[string(p.Payload)] = p.PacketID
	}
	r.acknowledge(ids["0"])
	p := r.message() // 4 moves up
	ids[string(p.Payload)] = p.PacketID
	_ = r.NetConn().Close()
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	for i := 8; i < 20; i++ {
		s.Deliver(numbered(i))
	}
	s.Deliver(broker.Message{Topic: configTopic, Payload: []byte("QoS 0 is not kept")})

	again, ack := device.join(func(c *paho.Connect) { c.Properties.ReceiveMaximum = ptr(uint16(2)) })
	if !ack.SessionPresent {
		t.Fatal("session present: got false")
	}
	for i := 1; i < 20; i++ {
		p := again.message()
		if got, want := string(p.Payload), fmt.Sprint(i); got != want {
			t.Fatalf("message: got %q, want %q", got, want)
		}
		id, sent := ids[string(p.Payload)]
		if p.Duplicate != sent || sent && p.PacketID != id {
			t.Errorf("message %d: got DUP %v id %d, want DUP %v id %d", i, p.Duplicate, p.PacketID, sent, id)
		}
		if i == 2 {
			again.silent() // receive maximum 2 holds for the repetition too
			again.acknowledge(ids["1"])
			again.acknowledge(ids["2"])
		}
		if i > 2 {
			again.acknowledge(p.PacketID)
		}
	}
	again.alive()
}

func TestTakeOverLosesNothing(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	r := device.subscribed(nil)
	const n = 2000
	go func() {
		for i := range n {
			s.Deliver(numbered(i))
			if i%50 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	next := 0 // the first message not seen yet
	for take := 0; next < n; take++ {
		for range 100 {
			pk, err := r.tryRead(patience)
			if err != nil {
				t.Fatal(err)
			}
			p, ok := pk.Content.(*paho.Publish)
			if !ok {
				t.Fatalf("got %s", pk)
			}
			var got int
			if _, err := fmt.Sscan(string(p.Payload), &got); err != nil {
				t.Fatal(err)
			}
			if got > next || got < next && !p.Duplicate {
				t.Fatalf("got %d (dup %v), want %d", got, p.Duplicate, next)
			}
			next = max(next, got+1)
			r.acknowledge(p.PacketID)
			if next == n {
				break
			}
		}
		if next < n {
			r, _ = device.join(nil)
		}
	}
}

// TestSlowReaderBlocksNobody: a client that stops reading costs its own session only.
func TestSlowReaderBlocksNobody(t *testing.T) {
	s := start(t, &cloud{}, func(c *broker.Config) { c.QueueMessages = 400 })
	slow := newReceiver(s)
	stuck := slow.subscribed(nil)
	other := s.operator("anna")
	other.subscribe(paho.SubOptions{Topic: "v1/+/down/#", QoS: 0})
	big := strings.Repeat("x", 64<<10)
	received := make(chan int)
	go func() {
		n := 0
		for ; n < 200; n++ {
			if pk, err := other.tryRead(patience); err != nil || pk.Type != paho.PUBLISH {
				break
			}
		}
		received <- n
	}()
	for range 200 { // 12.8 MB: far beyond the socket's buffers
		begin := time.Now()
		s.Deliver(broker.Message{Topic: configTopic, Payload: []byte(big), QoS: 1})
		if took := time.Since(begin); took > time.Minute {
			t.Fatalf("Deliver took %v", took)
		}
		time.Sleep(time.Millisecond)
	}
	if got := <-received; got != 200 {
		t.Errorf("the other client got %d, want 200", got)
	}
	begin := time.Now()
	fresh, ack := slow.join(nil)
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("take-over took %v", took)
	}
	if !ack.SessionPresent {
		t.Error("session present: got false")
	}
	if p := fresh.message(); len(p.Payload) != len(big) {
		t.Errorf("got %d bytes, want %d", len(p.Payload), len(big))
	}
	_ = stuck.NetConn().Close()
}

func TestFullQueue(t *testing.T) {
	s := start(t, &cloud{}, func(c *broker.Config) { c.QueueMessages = 10 })
	t.Run("QoS 0 goes first", func(t *testing.T) {
		device := newReceiver(s)
		r := device.subscribed(func(c *paho.Connect) { c.Properties.ReceiveMaximum = ptr(uint16(1)) })
		s.Deliver(numbered(0))
		first := r.message() // not acknowledged: everything else waits
		s.Deliver(numbered(1))
		for range 20 {
			s.Deliver(broker.Message{Topic: configTopic, Payload: []byte("q0")})
		}
		for i := 2; i < 10; i++ {
			s.Deliver(numbered(i))
		}
		if got := s.Stats(); got.DroppedQoS0 != 20 || got.CutSessions != 0 || got.Queued != 10 {
			t.Errorf("stats: got %d dropped, %d cut, %d queued, want 20, 0, 10", got.DroppedQoS0, got.CutSessions, got.Queued)
		}
		r.acknowledge(first.PacketID)
		for i := 1; i < 10; i++ {
			p := r.message()
			if got, want := string(p.Payload), fmt.Sprint(i); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			r.acknowledge(p.PacketID)
		}
		r.alive()
	})
	t.Run("then the session is cut", func(t *testing.T) {
		device := newReceiver(s)
		r := device.subscribed(nil)
		for i := range 11 {
			s.Deliver(numbered(i))
		}
		if got := r.closed(); got != 0x97 {
			t.Errorf("disconnect: got %#x, want 0x97", got)
		}
		_, ack := device.join(nil)
		if ack.SessionPresent {
			t.Error("session present: got true, want the loss to be visible")
		}
		if got := s.Stats(); got.CutSessions != 1 || got.Queued != 0 || got.QueuedBytes != 0 {
			t.Errorf("stats: got %+v, want one session cut and nothing queued", got)
		}
	})
	t.Run("offline too", func(t *testing.T) {
		device := newReceiver(s)
		device.subscribed(nil).Close()
		eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
		for i := range 11 {
			s.Deliver(numbered(i))
		}
		if got := s.Stats(); got.CutSessions != 2 || got.Sessions != 0 || got.Waking != 0 {
			t.Errorf("stats: got %+v, want the session gone", got)
		}
	})
}

// TestTooLargeMessage: it is counted and the session goes on.
func TestTooLargeMessage(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	small := func(size uint32) func(*paho.Connect) {
		return func(c *paho.Connect) { c.Properties.MaximumPacketSize = &size }
	}
	r := device.subscribed(small(200))
	// 3 bytes of header, 2 + 26 of topic, 2 of packet id, 1 of properties.
	fits := broker.Message{Topic: configTopic, Payload: make([]byte, 200-34), QoS: 1}
	tooLarge := fits
	tooLarge.Payload = make([]byte, 200-33)
	s.Deliver(tooLarge)
	s.Deliver(fits)
	p := r.message()
	if len(p.Payload) != len(fits.Payload) {
		t.Errorf("got %d bytes, want %d", len(p.Payload), len(fits.Payload))
	}
	if got := s.Stats().TooLarge; got != 1 {
		t.Errorf("too large: got %d, want 1", got)
	}
	_ = r.NetConn().Close()
	// The client comes back smaller: what is in flight and queued no longer fits.
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	s.Deliver(fits)
	s.Deliver(numbered(7))
	r, _ = device.join(small(100))
	if p := r.message(); string(p.Payload) != "7" {
		t.Errorf("got %q, want 7", p.Payload)
	}
	r.alive()
	if got := s.Stats().TooLarge; got != 3 {
		t.Errorf("too large: got %d, want 3", got)
	}
}

func TestMessageExpiry(t *testing.T) {
	t.Parallel()
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	device.subscribed(nil).Close()
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	for i, expiry := range []time.Duration{time.Second, 0, 100 * time.Second} {
		m := numbered(i)
		m.Expiry = expiry
		s.Deliver(m)
	}
	time.Sleep(1100 * time.Millisecond)
	r, _ := device.join(nil)
	p := r.message()
	if string(p.Payload) != "1" || p.Properties.MessageExpiry != nil {
		t.Errorf("got %q with expiry %v, want 1 without", p.Payload, p.Properties.MessageExpiry)
	}
	p = r.message()
	if e := p.Properties.MessageExpiry; e == nil || *e != 99 {
		t.Errorf("expiry of %q: got %v, want 99", p.Payload, e)
	}
	if got := s.Stats().Expired; got != 1 {
		t.Errorf("expired: got %d, want 1", got)
	}
}

func TestExpiredSessionIsGoneWholly(t *testing.T) {
	t.Parallel()
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	short := func(c *paho.Connect) { c.Properties.SessionExpiryInterval = ptr(uint32(1)) }
	_ = device.subscribed(short).NetConn().Close()
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	s.Deliver(numbered(1))
	if got := s.Stats(); got.Sessions != 1 || got.Queued != 1 || s.Subscriptions() != 1 {
		t.Errorf("before: got %+v, want one session with one message", got)
	}
	eventually(t, "expired", func() bool { return s.Stats().Sessions == 0 })
	eventually(t, "emptied", func() bool {
		got := s.Stats()
		return got.Queued == 0 && got.QueuedBytes == 0 && got.Waking == 0 && got.ExpiredSessions == 1 && s.Subscriptions() == 0
	})
	_, ack := device.join(nil)
	if ack.SessionPresent {
		t.Error("session present: got true")
	}
}

func TestCleanStartForgets(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	device.subscribed(nil).Close()
	s.Deliver(numbered(1))
	r, ack := device.join(func(c *paho.Connect) { c.CleanStart = true })
	if ack.SessionPresent {
		t.Error("session present: got true")
	}
	s.Deliver(numbered(2))
	r.silent()
	if got := s.Subscriptions(); got != 0 {
		t.Errorf("subscriptions: got %d, want 0", got)
	}
}

// TestNoOutboundAliases: a client that allows them still gets whole topics.
func TestNoOutboundAliases(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := newReceiver(s).subscribed(func(c *paho.Connect) { c.Properties.TopicAliasMaximum = ptr(uint16(10)) })
	for i := range 3 {
		s.Deliver(numbered(i))
		if p := r.message(); p.Topic != configTopic || p.Properties.TopicAlias != nil {
			t.Errorf("got topic %q alias %v", p.Topic, p.Properties.TopicAlias)
		}
	}
}

func TestPropertiesArrive(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := newReceiver(s).subscribed(nil)
	s.Deliver(broker.Message{Topic: configTopic, Payload: []byte("x"), QoS: 1, ContentType: "application/x",
		User: []broker.Property{{"pr", "CS2"}, {"cv", "17"}}})
	p := r.message()
	if p.Properties.ContentType != "application/x" || len(p.Properties.User) != 2 || p.Properties.User[0] != (paho.User{Key: "pr", Value: "CS2"}) {
		t.Errorf("got %v", p.Properties)
	}
}

// TestOfflineSessionsAreSmall: the TLS state of a connection goes with it; mochi kept 22 KiB.
func TestOfflineSessionsAreSmall(t *testing.T) {
	s := start(t, &cloud{}, nil)
	const n = 200
	config := s.ca.client("urn:ops:anna")
	before := heap()
	for i := range n {
		r, _ := s.join(config, connectPacket(fmt.Sprintf("c%d", i), resumable(nil)))
		r.subscribe(paho.SubOptions{Topic: "v1/ops/#", QoS: 1})
		r.send(paho.DISCONNECT, &paho.Disconnect{Properties: &paho.Properties{}})
		r.closed()
		r.Close()
	}
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 && s.Stats().Sessions == n })
	if each := (int64(heap()) - int64(before)) / n; each > 8<<10 {
		t.Errorf("an offline session holds %d bytes, want at most 8 KiB", each)
	} else {
		t.Logf("an offline session holds %d bytes (the test's own connections included)", each)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
