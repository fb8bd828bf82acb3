package broker_test

import (
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
	"telltale.dev/protocol"
)

// departure is one way in which a connection ends.
type departure struct {
	name string
	// word is what the device announces before; "" for nothing.
	word protocol.PresenceState
	// refused is the PUBACK code of that word.
	refused byte
	end     func(t *testing.T, s *stage, r *raw)
	// withWill and withoutWill are what the device is afterwards, as the last that the handler was told.
	withWill, withoutWill protocol.PresenceState
}

func disconnectWith(code byte) func(*testing.T, *stage, *raw) {
	return func(_ *testing.T, _ *stage, r *raw) {
		r.send(paho.DISCONNECT, &paho.Disconnect{ReasonCode: code, Properties: &paho.Properties{}})
	}
}

func hangUp(_ *testing.T, _ *stage, r *raw) { _ = r.NetConn().Close() }

func departures() []departure {
	const (
		online, asleep, offline, lost = protocol.PresenceOnline, protocol.PresenceAsleep, protocol.PresenceOffline, protocol.PresenceLost
	)
	return []departure{
		{"DISCONNECT 0x00 without a word", "", 0, disconnectWith(0x00), offline, offline},
		{"DISCONNECT 0x00 after offline", offline, 0, disconnectWith(0x00), offline, offline},
		{"DISCONNECT 0x00 after asleep", asleep, 0, disconnectWith(0x00), asleep, asleep},
		{"DISCONNECT 0x00 after a refused word: over quota", offline, 0x97, disconnectWith(0x00), offline, offline},
		{"DISCONNECT 0x00 after a refused word: not stored", asleep, 0x80, disconnectWith(0x00), offline, offline},
		{"DISCONNECT 0x00 after another birth", online, 0, disconnectWith(0x00), offline, offline},
		{"DISCONNECT without a code", "", 0, func(t *testing.T, _ *stage, r *raw) { write(t, r, "\xe0\x00") }, offline, offline},
		{"DISCONNECT 0x04", "", 0, disconnectWith(0x04), lost, lost},
		{"DISCONNECT 0x04 after a refused word", offline, 0x97, disconnectWith(0x04), lost, lost},
		{"DISCONNECT 0x80", "", 0, disconnectWith(0x80), lost, lost},
		{"DISCONNECT 0x98", "", 0, disconnectWith(0x98), lost, lost},
		{"DISCONNECT that may not be", "", 0, func(_ *testing.T, _ *stage, r *raw) {
			r.send(paho.DISCONNECT, &paho.Disconnect{Properties: &paho.Properties{SessionExpiryInterval: ptr(uint32(9))}})
		}, lost, lost},
		{"TCP closed", "", 0, hangUp, lost, lost},
		{"TCP closed after a refused word", offline, 0x97, hangUp, lost, lost},
		{"TLS closed", "", 0, func(_ *testing.T, _ *stage, r *raw) { _ = r.Close() }, lost, lost},
		{"TCP reset", "", 0, func(t *testing.T, _ *stage, r *raw) { reset(t, r) }, lost, lost},
		{"keep-alive timeout", "", 0, func(*testing.T, *stage, *raw) {}, lost, lost},
		{"second CONNECT", "", 0, func(_ *testing.T, _ *stage, r *raw) { r.send(paho.CONNECT, connectPacket("d", nil)) }, lost, lost},
		{"protocol error", "", 0, func(t *testing.T, _ *stage, r *raw) { write(t, r, "\x82\x03\x00\x01\x00") }, lost, lost},
		{"malformed packet", "", 0, func(t *testing.T, _ *stage, r *raw) { write(t, r, "\x00\x00") }, lost, lost},
		{"packet cut short", "", 0, func(t *testing.T, _ *stage, r *raw) { write(t, r, "\x32\x20\x00"); _ = r.Close() }, lost, lost},
		{"packet too large", "", 0, func(t *testing.T, _ *stage, r *raw) { write(t, r, "\x32\xff\xff\xff\x7f") }, lost, lost},
		{"forbidden topic alias", "", 0, func(t *testing.T, _ *stage, r *raw) { write(t, r, "\x32\x09\x00\x00\x00\x05\x03\x23\x00\x05x") }, lost, lost},
		{"kicked by an operator", "", 0, func(_ *testing.T, s *stage, _ *raw) { s.Disconnect("v", "d", 0x98) }, lost, lost},
		{"suspended or revoked", "", 0, func(_ *testing.T, s *stage, _ *raw) { s.Disconnect("v", "", 0x87) }, lost, lost},
	}
}

func write(t *testing.T, r *raw, packet string) {
	t.Helper()
	if _, err := r.Write([]byte(packet)); err != nil {
		t.Fatal(err)
	}
}

// TestNoConnectionNoOnline: whatever ends a connection, its device is not online
// afterwards, with a will or without, and whether the session goes on or ends.
func TestNoConnectionNoOnline(t *testing.T) {
	t.Parallel()
	for _, d := range departures() {
		for name, variant := range map[string]struct {
			will   bool
			expiry uint32
		}{"will": {true, 0}, "no will": {false, 0}, "no will, session kept": {false, 300}} {
			if d.name == "DISCONNECT that may not be" && variant.expiry > 0 {
				continue // there it may
			}
			t.Run(d.name+", "+name, func(t *testing.T) {
				t.Parallel()
				want := d.withoutWill
				if variant.will {
					want = d.withWill
				}
				testDeparture(t, d, variant.will, variant.expiry, want)
			})
		}
	}
}

func testDeparture(t *testing.T, d departure, will bool, expiry uint32, want protocol.PresenceState) {
	handler := &cloud{presences: make(chan presenceCall, 8)}
	var publishes atomic.Int32
	handler.publish = func(p broker.Publish, done func(byte)) {
		if publishes.Add(1) == 2 { // the word
			done(d.refused)
			return
		}
		done(0)
	}
	s := start(t, handler, nil)
	r, _ := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", func(c *paho.Connect) {
		if will {
			withWill(t, "v", "d", 0)(c)
		}
		c.KeepAlive = 1
		c.Properties.SessionExpiryInterval = &expiry
	}))
	r.publish(1, presenceTopic, string(presencePayload(t, "d", protocol.PresenceOnline)))
	handler.want(t, protocol.PresenceOnline)
	if d.word != "" {
		if got := r.publish(2, presenceTopic, string(presencePayload(t, "d", d.word))); got != d.refused {
			t.Fatalf("the word: got %#x, want %#x", got, d.refused)
		}
		if d.refused == 0 {
			handler.want(t, d.word)
		}
	}
	d.end(t, s, r)
	if d.refused != 0 || d.word != want {
		last := handler.want(t, want)
		if last.client.Connection != 1 || last.presence.Device != "d" || last.presence.Connection != 1 {
			t.Errorf("got %+v, want what connection 1 of device d said", last)
		}
	}
	handler.wantNothing(t, quiet)
	if s.Connected("v", "d") {
		t.Error("the device is still connected")
	}
}

// TestSilentSuccessorOfATakeOver: the newest connection has said nothing, and ends; what
// the one before has said does not stand.
func TestSilentSuccessorOfATakeOver(t *testing.T) {
	t.Parallel()
	_, handler, join := presenceStage(t)
	join(300, 300)
	handler.want(t, protocol.PresenceOnline)
	s := handler.stage
	r, _ := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", func(c *paho.Connect) { c.CleanStart = false }))
	handler.wantNothing(t, quiet) // the session goes on, so the will of the first is called off
	r.send(paho.DISCONNECT, &paho.Disconnect{Properties: &paho.Properties{}})
	if got := handler.want(t, protocol.PresenceOffline); got.client.Connection != 1 {
		t.Errorf("connection: got %d, want that of the birth, 1", got.client.Connection)
	}
}

// TestFloodOfPresence: a device that says more than anybody needs is not refused, costs
// its subscribers little, and its last word is the one that stands.
func TestFloodOfPresence(t *testing.T) {
	t.Parallel()
	handler := &cloud{presences: make(chan presenceCall, 4096)}
	s := start(t, handler, nil)
	r := s.device("v", "d")
	const flood = 500
	online, offline := presencePayload(t, "d", protocol.PresenceOnline), presencePayload(t, "d", protocol.PresenceOffline)
	for i := range flood {
		payload := online
		if i == flood-1 {
			payload = offline
		}
		if got := r.publish(uint16(i+1), presenceTopic, string(payload)); got != 0 {
			t.Fatalf("presence %d: got %#x, want 0", i, got)
		}
	}
	r.send(paho.DISCONNECT, &paho.Disconnect{Properties: &paho.Properties{}})
	var last presenceCall
	told := 0
	eventually(t, "the last word", func() bool {
		for len(handler.presences) > 0 {
			last = <-handler.presences
			told++
		}
		return last.presence.State == protocol.PresenceOffline
	})
	if told > flood/4 {
		t.Errorf("the handler was told %d times, want a bounded number", told)
	}
	handler.wantNothing(t, 2*quiet)
}

// TestBirthStoredAfterTheEnd: of a connection without a will; its session goes on, and
// nothing more would say that the device is gone.
func TestBirthStoredAfterTheEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *stage, *raw){"DISCONNECT 0x00": disconnectWith(0x00), "TCP closed": hangUp} {
		store := make(chan func(byte), 2)
		handler := &cloud{presences: make(chan presenceCall, 8)}
		handler.publish = func(_ broker.Publish, done func(byte)) { store <- done }
		s := start(t, handler, nil)
		r, _ := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", func(c *paho.Connect) {
			c.Properties.SessionExpiryInterval = ptr(uint32(300))
		}))
		r.send(paho.PUBLISH, &paho.Publish{PacketID: 1, QoS: 1, Topic: presenceTopic, Payload: presencePayload(t, "d", protocol.PresenceOnline)})
		stored := <-store
		end(t, s, r)
		eventually(t, name, func() bool { return s.Stats().Connections == 0 })
		time.Sleep(quiet) // Connections falls just before the end is noted
		stored(0)
		handler.wantNothing(t, quiet)
	}
}
