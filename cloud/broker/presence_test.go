package broker_test

import (
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
	"telltale.dev/protocol"
)

const presenceTopic = "v1/v/up/presence/d"

// presenceStage joins a device with a will and announces its birth.
func presenceStage(t *testing.T) (*stage, *cloud, func(delay, expiry uint32) *raw) {
	handler := &cloud{presences: make(chan presenceCall, 64)}
	s := start(t, handler, nil)
	config := s.ca.client("urn:dev:v:d")
	return s, handler, func(delay, expiry uint32) *raw {
		t.Helper()
		r, _ := s.join(config, connectPacket("d", func(c *paho.Connect) {
			withWill(t, "v", "d", delay)(c)
			c.CleanStart = false
			c.Properties.SessionExpiryInterval = &expiry
		}))
		r.send(paho.PUBLISH, &paho.Publish{PacketID: 1, QoS: 1, Retain: true, Topic: presenceTopic,
			Payload: presencePayload(t, "d", protocol.PresenceOnline)})
		if _, code := r.puback(); code != 0 {
			t.Fatalf("birth: got %#x", code)
		}
		return r
	}
}

func (c *cloud) want(t *testing.T, state protocol.PresenceState) presenceCall {
	t.Helper()
	select {
	case got := <-c.presences:
		if got.presence.State != state {
			t.Fatalf("presence: got %v, want %v", got.presence.State, state)
		}
		return got
	case <-time.After(patience):
		t.Fatalf("presence: got nothing, want %v", state)
	}
	return presenceCall{}
}

func (c *cloud) wantNothing(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case got := <-c.presences:
		t.Fatalf("presence: got %v, want nothing", got.presence.State)
	case <-time.After(within):
	}
}

func TestBirthAndWillAreStoredThenTold(t *testing.T) {
	s, handler, join := presenceStage(t)
	r := join(0, 0)
	birth := handler.want(t, protocol.PresenceOnline)
	_ = r.NetConn().Close() // no DISCONNECT
	lost := handler.want(t, protocol.PresenceLost)
	if birth.client != lost.client || lost.client.Connection == 0 {
		t.Errorf("client: got %+v and %+v, want the same", birth.client, lost.client)
	}
	stored := handler.all()
	if len(stored) != 2 || stored[1].Topic.String() != presenceTopic || !stored[1].Retain || stored[1].Client != lost.client {
		t.Errorf("stored: got %+v, want birth and will", stored)
	}
	eventually(t, "session gone", func() bool { return s.Stats().Sessions == 0 })
}

func TestWillWaits(t *testing.T) {
	t.Parallel()
	_, handler, join := presenceStage(t)
	r := join(1, 300)
	handler.want(t, protocol.PresenceOnline)
	begin := time.Now()
	_ = r.NetConn().Close()
	handler.want(t, protocol.PresenceLost)
	if took := time.Since(begin); took < 900*time.Millisecond || took > 3*time.Second {
		t.Errorf("the will came after %v, want about 1 s", took)
	}
}

func TestWillComesWithTheEndOfTheSession(t *testing.T) {
	t.Parallel()
	_, handler, join := presenceStage(t)
	r := join(300, 1) // a session that ends before the will delay is over
	handler.want(t, protocol.PresenceOnline)
	_ = r.NetConn().Close()
	handler.want(t, protocol.PresenceLost)
}

func TestReconnectCancelsTheWill(t *testing.T) {
	t.Parallel()
	_, handler, join := presenceStage(t)
	r := join(1, 300)
	handler.want(t, protocol.PresenceOnline)
	_ = r.NetConn().Close()
	join(1, 300)
	handler.want(t, protocol.PresenceOnline)
	handler.wantNothing(t, 1500*time.Millisecond)
}

// TestTakeOverPublishesNoWill: without a delay too, and although the old connection
// ends after the new birth.
func TestTakeOverPublishesNoWill(t *testing.T) {
	t.Parallel()
	_, handler, join := presenceStage(t)
	for i := range 10 {
		old := join(0, 0)
		first := handler.want(t, protocol.PresenceOnline)
		fresh := join(0, 0)
		second := handler.want(t, protocol.PresenceOnline)
		if first.client.Connection >= second.client.Connection {
			t.Errorf("round %d: connections %d and %d, want rising", i, first.client.Connection, second.client.Connection)
		}
		old.closed()
		handler.wantNothing(t, 20*time.Millisecond)
		fresh.send(paho.DISCONNECT, &paho.Disconnect{Properties: &paho.Properties{}})
		fresh.closed()
	}
	handler.wantNothing(t, quiet)
}

func TestDisconnectAndTheWill(t *testing.T) {
	_, handler, join := presenceStage(t)
	r := join(0, 300)
	handler.want(t, protocol.PresenceOnline)
	r.send(paho.DISCONNECT, &paho.Disconnect{ReasonCode: 0, Properties: &paho.Properties{}})
	r.closed()
	handler.wantNothing(t, quiet)

	r = join(0, 300)
	handler.want(t, protocol.PresenceOnline)
	r.send(paho.DISCONNECT, &paho.Disconnect{ReasonCode: 4, Properties: &paho.Properties{}})
	r.closed()
	handler.want(t, protocol.PresenceLost)

	// A reason code alone: paho leaves it out or writes properties, mosquitto writes this.
	for code, want := range map[string]protocol.PresenceState{"\x00": "", "\x04": protocol.PresenceLost} {
		r = join(0, 300)
		handler.want(t, protocol.PresenceOnline)
		if _, err := r.Write([]byte("\xe0\x01" + code)); err != nil {
			t.Fatal(err)
		}
		r.closed()
		if want == "" {
			handler.wantNothing(t, quiet)
			continue
		}
		handler.want(t, want)
	}
}

func TestDisconnectChangesTheExpiry(t *testing.T) {
	s, handler, join := presenceStage(t)
	r := join(0, 300)
	handler.want(t, protocol.PresenceOnline)
	r.send(paho.DISCONNECT, &paho.Disconnect{Properties: &paho.Properties{SessionExpiryInterval: ptr(uint32(0))}})
	r.closed()
	eventually(t, "session gone", func() bool { return s.Stats().Sessions == 0 })

	r = join(0, 0)
	handler.want(t, protocol.PresenceOnline)
	r.send(paho.DISCONNECT, &paho.Disconnect{Properties: &paho.Properties{SessionExpiryInterval: ptr(uint32(9))}})
	if got := r.closed(); got != 0x82 {
		t.Errorf("from zero to nine: got %#x, want 0x82", got)
	}
	handler.want(t, protocol.PresenceLost)
}

func TestPresenceThatIsNoneIsRefused(t *testing.T) {
	handler := &cloud{presences: make(chan presenceCall, 8)}
	s := start(t, handler, nil)
	r := s.device("v", "d")
	other, _ := protocolPresence(t, func(p *protocol.Presence) { p.Device = "e" })
	future, _ := protocolPresence(t, func(p *protocol.Presence) { p.Version = 2 })
	lost, _ := protocolPresence(t, func(p *protocol.Presence) { p.State = protocol.PresenceLost })
	unknown, _ := protocolPresence(t, func(p *protocol.Presence) { p.State = protocol.PresenceUnknown })
	for name, payload := range map[string]string{
		"empty": "", "text": "online", "another device": other, "another version": future, "lost": lost, "unknown": unknown,
	} {
		if got := r.publish(1, presenceTopic, payload); got != 0x99 {
			t.Errorf("%s: got %#x, want 0x99", name, got)
		}
	}
	asleep, _ := protocolPresence(t, func(p *protocol.Presence) { p.State = protocol.PresenceAsleep })
	if got := r.publish(1, presenceTopic, asleep); got != 0 {
		t.Errorf("asleep: got %#x, want success", got)
	}
	handler.want(t, protocol.PresenceAsleep)
	handler.wantNothing(t, 20*time.Millisecond)
}

func protocolPresence(t *testing.T, change func(*protocol.Presence)) (string, protocol.Presence) {
	t.Helper()
	p := protocol.Presence{Version: 1, State: protocol.PresenceOnline, Device: "d", Connection: 1}
	change(&p)
	return marshal(t, p), p
}

// TestPresenceThatIsNotStoredDoesNotCount: the vehicle will send it again.
func TestPresenceThatIsNotStoredDoesNotCount(t *testing.T) {
	handler := &cloud{presences: make(chan presenceCall, 8), publish: func(_ broker.Publish, done func(byte)) { done(0x97) }}
	s := start(t, handler, nil)
	r := s.device("v", "d")
	if got := r.publish(1, presenceTopic, string(presencePayload(t, "d", protocol.PresenceOnline))); got != 0x97 {
		t.Fatalf("got %#x, want 0x97", got)
	}
	handler.wantNothing(t, quiet)
}

// TestBirthStoredAfterTheWill: the store was slow, and the device is lost by now.
func TestBirthStoredAfterTheWill(t *testing.T) {
	store := make(chan func(byte), 2)
	handler := &cloud{presences: make(chan presenceCall, 8)}
	handler.publish = func(p broker.Publish, done func(byte)) {
		if p.ContentType == protocol.ContentPresence { // the birth here has none
			done(0)
			return
		}
		store <- done
	}
	s := start(t, handler, nil)
	r, _ := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", func(c *paho.Connect) {
		withWill(t, "v", "d", 0)(c)
		c.Properties.SessionExpiryInterval = ptr(uint32(30))
	}))
	birth := presencePayload(t, "d", protocol.PresenceOnline)
	r.send(paho.PUBLISH, &paho.Publish{PacketID: 1, QoS: 1, Topic: presenceTopic, Payload: birth})
	stored := <-store
	_ = r.NetConn().Close()
	handler.want(t, protocol.PresenceLost)
	stored(0)
	handler.wantNothing(t, quiet)
}

// TestAnnouncementsStoredOutOfOrder: the newest counts last.
func TestAnnouncementsStoredOutOfOrder(t *testing.T) {
	store := make(chan func(byte), 2)
	handler := &cloud{presences: make(chan presenceCall, 8)}
	handler.publish = func(_ broker.Publish, done func(byte)) { store <- done }
	s := start(t, handler, nil)
	r := s.device("v", "d")
	for i, state := range []protocol.PresenceState{protocol.PresenceOnline, protocol.PresenceAsleep} {
		r.send(paho.PUBLISH, &paho.Publish{PacketID: uint16(i + 1), QoS: 1, Topic: presenceTopic, Payload: presencePayload(t, "d", state)})
	}
	first, second := <-store, <-store
	second(0)
	handler.want(t, protocol.PresenceAsleep)
	first(0)
	handler.wantNothing(t, quiet)
}

// TestShutDownPublishesNoWill: after a restart presence is unknown, not lost.
func TestShutDownPublishesNoWill(t *testing.T) {
	handler := &cloud{presences: make(chan presenceCall, 8)}
	s := start(t, handler, nil)
	r, _ := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", withWill(t, "v", "d", 0)))
	s.stop()
	if got := r.closed(); got != 0x8B {
		t.Errorf("disconnect: got %#x, want 0x8b", got)
	}
	handler.wantNothing(t, quiet)
}
