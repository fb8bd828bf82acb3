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
	handler.stage = s
	config := s.ca.client("urn:dev:v:d")
	return s, handler, func(delay, expiry uint32) *raw {
		t.Helper()
		r, _ := s.join(config, connectPacket("d", func(c *paho.Connect) {
			withWill(t, "v", "d", delay)(c)
			c.CleanStart = handler.clean
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
	if took := time.Since(begin); took < 900*time.Millisecond || took > time.Minute {
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

// TestTakeOverAndTheWill: the will of a connection that is taken over comes when it has
// no delay, or when its session ends by the take-over [MQTT-3.1.4-3]; always under the
// number of its own connection, and always before anything of the new one.
func TestTakeOverAndTheWill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		delay, expiry uint32
		clean, away   bool // away: the first connection has ended before, and its will waits
		want          bool
	}{
		{"no delay", 0, 300, false, false, true},
		{"delay", 300, 600, false, false, false},
		{"delay, clean start", 300, 600, true, false, true},
		{"no delay, clean start", 0, 300, true, false, true},
		{"delay, session of no length", 300, 0, false, false, true},
		{"delay runs already", 300, 600, false, true, false},
		{"delay runs already, clean start", 300, 600, true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, handler, join := presenceStage(t)
			old := join(c.delay, c.expiry)
			first := handler.want(t, protocol.PresenceOnline).client.Connection
			if c.away {
				_ = old.NetConn().Close()
				eventually(t, "away", func() bool { return handler.stage.Stats().Connections == 0 })
			}
			handler.clean = c.clean
			join(c.delay, c.expiry)
			if c.want {
				if got := handler.want(t, protocol.PresenceLost).client.Connection; got != first {
					t.Errorf("will: got connection %d, want the old one, %d", got, first)
				}
			}
			if got := handler.want(t, protocol.PresenceOnline).client.Connection; got <= first {
				t.Errorf("birth: got connection %d, want one above %d", got, first)
			}
			if !c.away {
				old.closed()
			}
			handler.wantNothing(t, quiet)
		})
	}
}

// TestTakeOversInARow: whichever connection ends when, the newest word is told last.
func TestTakeOversInARow(t *testing.T) {
	t.Parallel()
	_, handler, join := presenceStage(t)
	for range 10 {
		join(0, 300)
	}
	last, births := presenceCall{}, 0
	eventually(t, "the last birth", func() bool {
		for len(handler.presences) > 0 {
			got := <-handler.presences
			if got.client.Connection < last.client.Connection {
				t.Errorf("connection %d was told of after %d", got.client.Connection, last.client.Connection)
			}
			if last = got; got.presence.State == protocol.PresenceOnline {
				births++
			}
		}
		return births == 10
	})
	handler.wantNothing(t, quiet)
}

// TestTwoConnectionsAtOnce: when the older of two connections is noted last, it is still the older one.
func TestTwoConnectionsAtOnce(t *testing.T) {
	handler := &cloud{presences: make(chan presenceCall, 8)}
	broker.PresenceOrder(handler, []broker.PresenceStep{
		{1, ""}, {1, protocol.PresenceOnline}, {3, ""}, {2, ""}, {2, protocol.PresenceAsleep}, {3, protocol.PresenceOnline}, {1, protocol.PresenceLost},
	})
	for _, want := range []uint64{1, 3} {
		if got := handler.want(t, protocol.PresenceOnline).client.Connection; got != want {
			t.Errorf("connection: got %d, want %d", got, want)
		}
	}
	handler.wantNothing(t, 0)
}

// TestBirthStoredAfterATakeOver: what an old connection said counts no longer when it
// is accepted only after a newer one is there.
func TestBirthStoredAfterATakeOver(t *testing.T) {
	store := make(chan func(byte), 2)
	handler := &cloud{presences: make(chan presenceCall, 8)}
	handler.publish = func(_ broker.Publish, done func(byte)) { store <- done }
	s := start(t, handler, nil)
	old := s.device("v", "d")
	old.send(paho.PUBLISH, &paho.Publish{PacketID: 1, QoS: 1, Topic: presenceTopic, Payload: presencePayload(t, "d", protocol.PresenceAsleep)})
	late := <-store
	fresh := s.device("v", "d")
	fresh.send(paho.PUBLISH, &paho.Publish{PacketID: 1, QoS: 1, Topic: presenceTopic, Payload: presencePayload(t, "d", protocol.PresenceOnline)})
	(<-store)(0)
	handler.want(t, protocol.PresenceOnline)
	late(0)
	handler.wantNothing(t, quiet)
}

func TestDisconnectAndTheWill(t *testing.T) {
	_, handler, join := presenceStage(t)
	r := join(0, 300)
	handler.want(t, protocol.PresenceOnline)
	r.send(paho.DISCONNECT, &paho.Disconnect{ReasonCode: 0, Properties: &paho.Properties{}})
	r.closed()
	handler.want(t, protocol.PresenceOffline) // the broker's word; the will is discarded
	handler.wantNothing(t, quiet)

	r = join(0, 300)
	handler.want(t, protocol.PresenceOnline)
	r.send(paho.DISCONNECT, &paho.Disconnect{ReasonCode: 4, Properties: &paho.Properties{}})
	r.closed()
	handler.want(t, protocol.PresenceLost)

	// A reason code alone: paho leaves it out or writes properties, mosquitto writes this.
	for code, want := range map[string]protocol.PresenceState{"\x00": protocol.PresenceOffline, "\x04": protocol.PresenceLost} {
		r = join(0, 300)
		handler.want(t, protocol.PresenceOnline)
		if _, err := r.Write([]byte("\xe0\x01" + code)); err != nil {
			t.Fatal(err)
		}
		r.closed()
		handler.want(t, want)
	}
}

func TestDisconnectChangesTheExpiry(t *testing.T) {
	s, handler, join := presenceStage(t)
	r := join(0, 300)
	handler.want(t, protocol.PresenceOnline)
	r.send(paho.DISCONNECT, &paho.Disconnect{Properties: &paho.Properties{SessionExpiryInterval: ptr(uint32(0))}})
	r.closed()
	handler.want(t, protocol.PresenceOffline)
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

// TestPresenceOfALaterVersion: what this version does not know of a will or a birth keeps no
// car out, unless the car says that it must be understood.
func TestPresenceOfALaterVersion(t *testing.T) {
	said := func(state protocol.PresenceState, extra map[string]any) []byte {
		m := map[string]any{"v": 1, "state": state, "did": "d", "boot": []byte("12345678"), "conn": 1, "at": 0, "agent": "later"}
		for key, value := range extra {
			m[key] = value
		}
		return []byte(marshal(t, m))
	}
	for _, c := range []struct {
		name  string
		extra map[string]any
		want  byte
	}{
		{"new fields", map[string]any{"counter": 4, "reset": map[string]any{"why": "battery"}}, 0},
		{"new fields that may be passed over", map[string]any{"counter": 4, "must": []string{"state"}}, 0},
		{"a new field that must be understood", map[string]any{"counter": 4, "must": []string{"counter"}}, 0x99},
		{"a known field of another type", map[string]any{"conn": "x"}, 0x99},
		{"larger than anybody needs", map[string]any{"counter": make([]byte, 5000)}, 0x99},
	} {
		t.Run(c.name, func(t *testing.T) {
			handler := &cloud{presences: make(chan presenceCall, 8)}
			s := start(t, handler, nil)
			r := s.dial(s.ca.client("urn:dev:v:d"))
			r.send(paho.CONNECT, connectPacket("d", func(p *paho.Connect) {
				withWill(t, "v", "d", 0)(p)
				p.WillMessage = said(protocol.PresenceLost, c.extra)
			}))
			if ack := r.read().Content.(*paho.Connack); ack.ReasonCode != c.want {
				t.Errorf("CONNACK: got %#x, want %#x", ack.ReasonCode, c.want)
			}
			birth := s.device("v", "d")
			if got := birth.publish(1, presenceTopic, string(said(protocol.PresenceOnline, c.extra))); got != c.want {
				t.Errorf("PUBACK: got %#x, want %#x", got, c.want)
			}
		})
	}
}
