package broker_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
	"telltale.dev/protocol/principal"
)

// sent follows one message of Send.
type sent struct {
	t     testing.TB
	calls atomic.Int32
	told  chan broker.Settlement
}

// send sends a document to v/d.
func send(s *stage, m broker.Message) *sent {
	f := &sent{t: s.t, told: make(chan broker.Settlement, 1)}
	s.Send("v", "d", m, func(got broker.Settlement) {
		if f.calls.Add(1) > 1 {
			s.t.Error("settled twice")
			return
		}
		f.told <- got
	})
	return f
}

// is wants the settlement.
func (f *sent) is(want broker.Settlement) {
	f.t.Helper()
	select {
	case got := <-f.told:
		if got != want {
			f.t.Errorf("settled: got %+v, want %+v", got, want)
		}
	case <-time.After(patience):
		f.t.Fatalf("not settled, want %+v", want)
	}
}

// open wants no settlement yet.
func (f *sent) open() {
	f.t.Helper()
	if n := f.calls.Load(); n != 0 {
		f.t.Fatalf("settled by %+v, want it open", <-f.told)
	}
}

func answer(r *raw, id uint16, code byte) {
	r.t.Helper()
	r.send(paho.PUBACK, &paho.Puback{PacketID: id, ReasonCode: code, Properties: &paho.Properties{}})
}

// TestSendTellsTheAnswer: the reason code of the device's PUBACK, whatever it is.
func TestSendTellsTheAnswer(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := newReceiver(s).subscribed(nil)
	other := s.operator("anna")
	other.subscribe(paho.SubOptions{Topic: "v1/+/down/#", QoS: 1})
	for _, code := range []byte{0, 0x10, 0x80, 0x83, 0x87, 0x97, 0x99} {
		f := send(s, numbered(int(code)))
		p := r.message()
		f.open()
		answer(r, p.PacketID, code)
		f.is(broker.Settlement{Outcome: broker.Acknowledged, Code: code, Sent: true})
	}
	other.alive() // it is for the device alone
	if got := s.Stats(); got.Queued != 0 || got.QueuedBytes != 0 || got.Acknowledged[0x87] != 1 || got.Acknowledged[0] != 1 {
		t.Errorf("stats: got %+v, want an empty queue and the codes counted", got)
	}
	s.Deliver(numbered(1))
	answer(r, r.message().PacketID, 0x87)
	eventually(t, "the code of a delivery is counted too", func() bool { return s.Stats().Acknowledged[0x87] == 2 })
}

// TestSendOf311: its PUBACK has no code and means success.
func TestSendOf311(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := s.dial(s.ca.client("urn:dev:v:d"))
	for _, packet := range []string{"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01d", "\x82\x17\x00\x01\x00\x12v1/v/down/config/+\x01"} {
		if _, err := r.Write([]byte(packet)); err != nil {
			t.Fatal(err)
		}
	}
	readBytes(t, r.Conn, 4+5)
	f := send(s, numbered(7))
	want := "\x32\x1f\x00\x1a" + configTopic + "\x00\x017"
	if got := readBytes(t, r.Conn, len(want)); got != want {
		t.Fatalf("got %x, want %x", got, want)
	}
	f.open()
	if _, err := r.Write([]byte("\x40\x02\x00\x01")); err != nil {
		t.Fatal(err)
	}
	f.is(broker.Settlement{Outcome: broker.Acknowledged, Sent: true})
}

func TestSendToNobody(t *testing.T) {
	s := start(t, &cloud{}, func(c *broker.Config) { c.Access = nil })
	unreachable := broker.Settlement{Outcome: broker.Unreachable}
	send(s, numbered(1)).is(unreachable)
	r, _ := newReceiver(s).join(nil)
	send(s, numbered(1)).is(unreachable)
	r.subscribe(paho.SubOptions{Topic: "v1/v/down/config/+", QoS: 0}, paho.SubOptions{Topic: "v1/v/down/fetch", QoS: 1})
	send(s, numbered(1)).is(unreachable) // nobody would answer
	send(s, broker.Message{Topic: "v1/w/down/fetch"}).is(unreachable)
	send(s, broker.Message{Topic: "v1/v/up/telemetry/c"}).is(unreachable)
	r.alive()
}

// TestSendIsBounded: what is too much is settled at once, and costs the device nothing.
func TestSendIsBounded(t *testing.T) {
	s := start(t, &cloud{}, func(c *broker.Config) { c.QueueMessages = 100 })
	r := newReceiver(s).subscribed(func(c *paho.Connect) { c.Properties.ReceiveMaximum = ptr(uint16(1)) })
	var all []*sent
	for i := range broker.MaxTracked {
		all = append(all, send(s, numbered(i)))
	}
	send(s, numbered(0)).is(broker.Settlement{Outcome: broker.Busy})
	for i, f := range all {
		f.open()
		p := r.message()
		if got := string(p.Payload); got != fmt.Sprint(i) {
			t.Fatalf("got %s, want %d", got, i)
		}
		answer(r, p.PacketID, 0)
		f.is(broker.Settlement{Outcome: broker.Acknowledged, Sent: true})
	}
	for i := range 100 { // the queue is full of others
		s.Deliver(numbered(i))
	}
	send(s, numbered(0)).is(broker.Settlement{Outcome: broker.Busy})
	if got := s.Stats(); got.CutSessions != 0 || got.Queued != 100 {
		t.Errorf("got %d sessions cut and %d messages queued, want none and 100", got.CutSessions, got.Queued)
	}
}

func TestSendThatIsTooLarge(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	small := func(size uint32) func(*paho.Connect) {
		return func(c *paho.Connect) { c.Properties.MaximumPacketSize = &size }
	}
	r := device.subscribed(small(200))
	big := broker.Message{Topic: configTopic, Payload: make([]byte, 150)}
	huge := broker.Message{Topic: configTopic, Payload: make([]byte, 200)}
	send(s, huge).is(broker.Settlement{Outcome: broker.TooLarge})
	given := send(s, big)
	r.message()
	_ = r.NetConn().Close()
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	queued := send(s, big)
	r, _ = device.join(small(100))
	given.is(broker.Settlement{Outcome: broker.TooLarge, Sent: true})
	queued.is(broker.Settlement{Outcome: broker.TooLarge})
	r.alive()
}

// TestSendExpires: in time, though the device is away and nobody looks at its queue.
func TestSendExpires(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	r := device.subscribed(func(c *paho.Connect) { c.Properties.ReceiveMaximum = ptr(uint16(1)) })
	given := send(s, broker.Message{Topic: configTopic, Payload: []byte("given"), Expiry: 50 * time.Millisecond})
	r.message()
	waiting := send(s, broker.Message{Topic: configTopic, Expiry: 50 * time.Millisecond})
	waiting.is(broker.Settlement{Outcome: broker.Expired})
	_ = r.NetConn().Close()
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	send(s, broker.Message{Topic: configTopic, Expiry: 50 * time.Millisecond}).is(broker.Settlement{Outcome: broker.Expired})
	if got := s.Stats(); got.Queued != 1 || got.Expired != 2 {
		t.Errorf("got %d queued, %d expired, want 1 and 2", got.Queued, got.Expired)
	}
	given.open() // the device may have it; only its word or the end of the session settles it
	r, _ = device.join(nil)
	p := r.message()
	if string(p.Payload) != "given" || !p.Duplicate {
		t.Errorf("got %q, DUP %v, want it again", p.Payload, p.Duplicate)
	}
	answer(r, p.PacketID, 0x80)
	given.is(broker.Settlement{Outcome: broker.Acknowledged, Code: 0x80, Sent: true})
}

// TestSendEndsWithTheSession: in all ways in which a session ends. One message was given to the device, one was not.
func TestSendEndsWithTheSession(t *testing.T) {
	window := func(c *paho.Connect) { c.Properties.ReceiveMaximum = ptr(uint16(1)) }
	for name, end := range map[string]func(*stage, *receiver, *raw){
		"clean start": func(_ *stage, d *receiver, _ *raw) { d.join(func(c *paho.Connect) { c.CleanStart = true }) },
		"expiry": func(_ *stage, _ *receiver, r *raw) {
			r.send(paho.DISCONNECT, &paho.Disconnect{Properties: &paho.Properties{SessionExpiryInterval: ptr(uint32(0))}})
		},
		"overflow": func(s *stage, _ *receiver, _ *raw) {
			for i := range 12 {
				s.Deliver(numbered(i))
			}
		},
		"the broker's end": func(s *stage, _ *receiver, _ *raw) { s.stop() },
		"the broker's end without a connection": func(s *stage, _ *receiver, r *raw) {
			_ = r.NetConn().Close()
			eventually(s.t, "away", func() bool { return s.Stats().Connections == 0 })
			s.stop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, &cloud{}, func(c *broker.Config) { c.QueueMessages = 10 })
			device := newReceiver(s)
			r := device.subscribed(window)
			given := send(s, numbered(1))
			r.message()
			waiting := send(s, numbered(2))
			end(s, device, r)
			given.is(broker.Settlement{Outcome: broker.SessionEnded, Sent: true})
			waiting.is(broker.Settlement{Outcome: broker.SessionEnded})
		})
	}
	t.Run("afterwards", func(t *testing.T) {
		s := start(t, &cloud{}, nil)
		newReceiver(s).subscribed(nil)
		s.stop()
		send(s, numbered(1)).is(broker.Settlement{Outcome: broker.Unreachable})
	})
}

// TestSettledMayCallTheBroker: no lock is held while it is told.
func TestSettledMayCallTheBroker(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := newReceiver(s).subscribed(nil)
	again := make(chan *sent, 1)
	s.Send("v", "d", numbered(1), func(broker.Settlement) {
		s.Deliver(numbered(2))
		s.Revoke(func(principal.Principal, string) bool { return false })
		again <- send(s, numbered(3))
	})
	r.acknowledge(r.message().PacketID)
	for range 2 {
		r.acknowledge(r.message().PacketID)
	}
	(<-again).is(broker.Settlement{Outcome: broker.Acknowledged, Sent: true})
	revoked := make(chan broker.Settlement, 1)
	r.subscribe(paho.SubOptions{Topic: fetchTopic, QoS: 1})
	_ = r.NetConn().Close()
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	s.Send("v", "d", numbered(4), func(got broker.Settlement) {
		s.Revoke(filterOf(fetchTopic))
		revoked <- got
	})
	go s.Revoke(filterOf("v1/v/down/config/+"))
	(&sent{t: t, told: revoked}).is(broker.Settlement{Outcome: broker.Revoked})
	if got := s.Subscriptions(); got != 0 {
		t.Errorf("got %d subscriptions in the tree, want none", got)
	}
}

// TestSendSettlesOnce: with connections lost, taken over and cut, subscriptions revoked and the
// broker ended in the middle, each of many messages is settled exactly once.
func TestSendSettlesOnce(t *testing.T) {
	s := start(t, &cloud{}, func(c *broker.Config) { c.QueueMessages = 60 })
	device := newReceiver(s)
	var group sync.WaitGroup
	var over atomic.Bool
	var open, all atomic.Int64
	group.Go(func() { // a device that comes, answers some, and goes
		for i := 0; !over.Load(); i++ {
			conn, err := s.tryJoin(device.config, connectPacket("d", resumable(func(c *paho.Connect) { c.CleanStart = i%5 == 4 })))
			if err != nil {
				continue
			}
			_ = conn.trySend(paho.SUBSCRIBE, &paho.Subscribe{PacketID: 1, Subscriptions: []paho.SubOptions{{Topic: "v1/v/down/config/+", QoS: 1}}, Properties: &paho.Properties{}})
			for range rand.IntN(60) {
				pk, err := conn.tryRead(100 * time.Millisecond)
				if err != nil {
					break
				}
				if p, ok := pk.Content.(*paho.Publish); ok && rand.IntN(4) > 0 {
					_ = conn.trySend(paho.PUBACK, &paho.Puback{PacketID: p.PacketID, ReasonCode: byte(rand.IntN(2) * 0x80), Properties: &paho.Properties{}})
				}
			}
			if rand.IntN(2) == 0 {
				_ = conn.NetConn().Close()
			}
		}
	})
	for range 3 {
		group.Go(func() {
			for !over.Load() {
				m := numbered(1)
				m.Expiry = time.Duration(rand.IntN(3)) * time.Millisecond
				var once atomic.Bool
				open.Add(1)
				all.Add(1)
				s.Send("v", "d", m, func(broker.Settlement) {
					if once.Swap(true) {
						t.Error("settled twice")
					}
					open.Add(-1)
				})
				time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			}
		})
	}
	group.Go(func() {
		for i := 0; !over.Load(); i++ {
			time.Sleep(2 * time.Millisecond)
			s.Deliver(numbered(1))
			if i%20 == 0 {
				s.Revoke(func(principal.Principal, string) bool { return true })
			}
		}
	})
	time.Sleep(time.Second)
	s.stop()
	over.Store(true)
	group.Wait()
	if got := open.Load(); got != 0 {
		t.Errorf("%d of %d messages were not settled", got, all.Load())
	}
	if got := s.Stats(); got.Queued != 0 || got.QueuedBytes != 0 {
		t.Errorf("got %d messages and %d bytes queued at the end, want none", got.Queued, got.QueuedBytes)
	}
}

// tryJoin is join for a broker that may refuse, or be gone.
func (s *stage) tryJoin(config *tls.Config, c *paho.Connect) (*raw, error) {
	conn, err := tls.Dial("tcp", s.Addr().String(), config)
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { _ = conn.NetConn().Close() })
	r := newRaw(conn, s.t)
	if err := r.trySend(paho.CONNECT, c); err != nil {
		return nil, err
	}
	pk, err := r.tryRead(patience)
	if err != nil {
		return nil, err
	}
	if ack, ok := pk.Content.(*paho.Connack); !ok || ack.ReasonCode != 0 {
		return nil, fmt.Errorf("got %s", pk)
	}
	return r, nil
}
