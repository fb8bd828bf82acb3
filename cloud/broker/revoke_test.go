package broker_test

import (
	"crypto/tls"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/access"
	"telltale.dev/cloud/broker"
	"telltale.dev/protocol/principal"
)

// filterOf matches one filter of anybody.
func filterOf(want string) func(principal.Principal, string) bool {
	return func(_ principal.Principal, filter string) bool { return filter == want }
}

const fetchTopic = "v1/v/down/fetch"

// TestRevoke: what is queued and what comes is not delivered any more, the connection and the other subscription stay.
func TestRevoke(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	r, _ := device.join(func(c *paho.Connect) { c.Properties.ReceiveMaximum = ptr(uint16(1)) })
	r.subscribe(paho.SubOptions{Topic: "v1/v/down/config/+", QoS: 1}, paho.SubOptions{Topic: fetchTopic, QoS: 1})
	given := send(s, numbered(1))
	p := r.message()
	queued := send(s, numbered(2))
	s.Deliver(numbered(3))
	s.Deliver(broker.Message{Topic: fetchTopic, Payload: []byte("fetch"), QoS: 1})
	if got := s.Revoke(filterOf("v1/v/down/config/+")); got != 1 {
		t.Errorf("got %d subscriptions revoked, want 1", got)
	}
	queued.is(broker.Settlement{Outcome: broker.Revoked})
	given.open()
	s.Deliver(numbered(4))
	send(s, numbered(5)).is(broker.Settlement{Outcome: broker.Unreachable})
	if got := s.Stats().Queued; got != 2 {
		t.Errorf("got %d messages queued, want the one given and the one of the other subscription", got)
	}
	answer(r, p.PacketID, 0)
	given.is(broker.Settlement{Outcome: broker.Acknowledged, Sent: true})
	if p := r.message(); string(p.Payload) != "fetch" {
		t.Errorf("got %q, want that of the other subscription", p.Payload)
	} else {
		r.acknowledge(p.PacketID)
	}
	r.alive()
	r.send(paho.UNSUBSCRIBE, &paho.Unsubscribe{PacketID: 4, Topics: []string{"v1/v/down/config/+"}, Properties: &paho.Properties{}})
	if ack := r.read().Content.(*paho.Unsuback); ack.Reasons[0] != 0x11 {
		t.Errorf("unsuback: got %#x, want 0x11", ack.Reasons[0])
	}
	if got := s.Subscriptions(); got != 1 {
		t.Errorf("got %d subscriptions in the tree, want 1", got)
	}
}

// TestRevokeByPrincipal: of one vehicle, with a connection or without; others keep theirs.
func TestRevokeByPrincipal(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	r := device.subscribed(func(c *paho.Connect) { c.Properties.ReceiveMaximum = ptr(uint16(1)) })
	given := send(s, numbered(1))
	r.message()
	_ = r.NetConn().Close()
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	s.Deliver(numbered(2))
	ops := s.operator("anna")
	ops.subscribe(paho.SubOptions{Topic: "v1/+/down/#", QoS: 1})
	if got := s.Revoke(func(p principal.Principal, _ string) bool { return p.Vehicle == "v" }); got != 1 {
		t.Errorf("got %d subscriptions revoked, want 1", got)
	}
	given.is(broker.Settlement{Outcome: broker.Revoked, Sent: true})
	s.Deliver(numbered(3))
	if p := ops.message(); string(p.Payload) != "3" {
		t.Errorf("got %q, want what another principal has subscribed", p.Payload)
	}
	r, ack := device.join(nil)
	if !ack.SessionPresent {
		t.Error("session present: got false, want the session to stay")
	}
	r.alive()
	r.subscribe(paho.SubOptions{Topic: "v1/v/down/config/+", QoS: 1}) // it may: the rules are what they were
	s.Deliver(numbered(4))
	if p := r.message(); string(p.Payload) != "4" || p.Duplicate {
		t.Errorf("got %q, want 4", p.Payload)
	}
	if got := s.Stats().Queued; got != 3 {
		t.Errorf("got %d queued, want one of the device and two of the operator", got)
	}
}

// TestRevokedIsNotSentAgain: what the present connection was given is not repeated on the next.
func TestRevokedIsNotSentAgain(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	r := device.subscribed(nil)
	given := send(s, numbered(1))
	r.message()
	s.Revoke(filterOf("v1/v/down/config/+"))
	given.open() // its answer is still possible
	r, _ = device.join(nil)
	given.is(broker.Settlement{Outcome: broker.Revoked, Sent: true})
	r.alive()
}

// TestRevokeLeavesWhatOthersCover: a message that another subscription of the session covers stays.
func TestRevokeLeavesWhatOthersCover(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	r, _ := device.join(nil)
	r.subscribe(paho.SubOptions{Topic: "v1/v/down/config/+", QoS: 1}, paho.SubOptions{Topic: configTopic, QoS: 1})
	_ = r.NetConn().Close()
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	f := send(s, numbered(1))
	s.Revoke(filterOf("v1/v/down/config/+"))
	r, _ = device.join(nil)
	r.acknowledge(r.message().PacketID)
	f.is(broker.Settlement{Outcome: broker.Acknowledged, Sent: true})
}

// TestForget: nothing of a vehicle's sessions is left, with a connection or without; other vehicles keep theirs.
func TestForget(t *testing.T) {
	s := start(t, &cloud{presences: make(chan presenceCall, 10)}, nil)
	device := newReceiver(s)
	online := device.subscribed(nil)
	ivi := s.ca.client("urn:dev:v:ivi")
	offline, _ := s.join(ivi, connectPacket("ivi", resumable(nil)))
	offline.subscribe(paho.SubOptions{Topic: "v1/v/down/config/+", QoS: 1})
	_ = offline.NetConn().Close()
	other := s.device("w", "d")
	eventually(t, "away", func() bool { return s.Stats().Connections == 2 })
	f := send(s, numbered(1))
	online.message()
	s.Forget("v", 0x87)
	f.is(broker.Settlement{Outcome: broker.SessionEnded, Sent: true})
	if got := online.closed(); got != 0x87 {
		t.Errorf("disconnect: got %#x, want 0x87", got)
	}
	eventually(t, "gone", func() bool {
		got := s.Stats()
		return got.Sessions == 1 && got.Queued == 0 && got.Waking == 0 && got.CutSessions == 0 && s.Subscriptions() == 0
	})
	for name, config := range map[string]*tls.Config{"d": device.config, "ivi": ivi} {
		if _, ack := s.join(config, connectPacket(name, resumable(nil))); ack.SessionPresent {
			t.Errorf("%s: session present: got true", name)
		}
	}
	s.Forget("", 0x87)
	other.alive()
}

// TestRevokeWhileRetainedMessagesAreAsked: they are not delivered, and what was held back for them neither.
func TestRevokeWhileRetainedMessagesAreAsked(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	handler := &cloud{retained: func(string) []broker.Message {
		close(asked)
		<-goOn
		return []broker.Message{numbered(1)}
	}}
	s := start(t, handler, nil)
	r, _ := newReceiver(s).join(nil)
	r.send(paho.SUBSCRIBE, &paho.Subscribe{PacketID: 1, Subscriptions: []paho.SubOptions{{Topic: "v1/v/down/config/+", QoS: 1}}, Properties: &paho.Properties{}})
	<-asked
	held := send(s, numbered(2))
	if got := s.Revoke(filterOf("v1/v/down/config/+")); got != 1 {
		t.Errorf("got %d subscriptions revoked, want 1", got)
	}
	held.is(broker.Settlement{Outcome: broker.Revoked})
	close(goOn)
	if pk := r.read(); pk.Type != paho.SUBACK {
		t.Fatalf("got %s, want SUBACK", pk.PacketType())
	}
	r.alive()
	if got := s.Stats().Queued; got != 0 {
		t.Errorf("got %d queued, want none", got)
	}
}

// TestRevokeRacesSubscribe: whoever subscribes while a right is taken away is refused, or has nothing of it. A
// marker that is delivered after Revoke has returned never arrives.
func TestRevokeRacesSubscribe(t *testing.T) {
	var denied atomic.Bool
	rules := func(p principal.Principal, verb access.Verb, object string) *access.Rule {
		if verb == access.Subscribe && denied.Load() {
			return &access.Rule{Why: "consent was withdrawn"}
		}
		return access.Decide(p, verb, object)
	}
	s := start(t, &cloud{}, func(c *broker.Config) { c.Access = rules })
	r, _ := newReceiver(s).join(nil)
	var over atomic.Bool
	var noise sync.WaitGroup
	noise.Go(func() {
		for !over.Load() {
			s.Deliver(broker.Message{Topic: configTopic, Payload: []byte("noise")})
			time.Sleep(100 * time.Microsecond)
		}
	})
	for round := range 100 {
		denied.Store(false)
		begun := make(chan struct{})
		go func() {
			close(begun)
			for range 4 {
				_ = r.trySend(paho.SUBSCRIBE, &paho.Subscribe{PacketID: 1, Subscriptions: []paho.SubOptions{{Topic: "v1/v/down/config/+", QoS: 1}}, Properties: &paho.Properties{}})
			}
		}()
		<-begun
		time.Sleep(time.Duration(round%20) * 20 * time.Microsecond)
		denied.Store(true)
		s.Revoke(filterOf("v1/v/down/config/+"))
		s.Deliver(broker.Message{Topic: configTopic, Payload: []byte("marker"), QoS: 1})
		for subacks := 0; subacks < 4; {
			switch p := r.read().Content.(type) {
			case *paho.Suback:
				subacks++
			case *paho.Publish:
				if strings.HasPrefix(string(p.Payload), "marker") {
					t.Fatalf("round %d: the marker was delivered", round)
				}
			}
		}
		if got := s.Subscriptions(); got != 0 {
			t.Fatalf("round %d: %d subscriptions are left", round, got)
		}
	}
	over.Store(true)
	noise.Wait()
}

// TestRevokeRacesDeliver: a message that had matched the subscription before it was revoked is not queued after it.
func TestRevokeRacesDeliver(t *testing.T) {
	s := start(t, &cloud{}, nil)
	device := newReceiver(s)
	r := device.subscribed(nil)
	_ = r.NetConn().Close()
	eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
	for range 30 {
		r, _ := device.join(nil)
		r.subscribe(paho.SubOptions{Topic: "v1/v/down/config/+", QoS: 1})
		_ = r.NetConn().Close()
		eventually(t, "away", func() bool { return s.Stats().Connections == 0 })
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 200 {
					s.Deliver(numbered(1))
				}
			})
		}
		time.Sleep(50 * time.Microsecond)
		s.Revoke(filterOf("v1/v/down/config/+"))
		if got := s.Stats().Queued; got != 0 {
			t.Errorf("got %d messages queued after Revoke has returned, want none", got)
		}
		group.Wait()
		if got := s.Stats(); got.Queued != 0 || got.QueuedBytes != 0 {
			t.Errorf("got %d messages queued, want none", got.Queued)
		}
	}
}
