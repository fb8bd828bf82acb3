package broker_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
	"telltale.dev/protocol"
)

func TestConnackSaysWhatTheBrokerDoes(t *testing.T) {
	s := start(t, &cloud{}, nil)
	_, ack := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", nil))
	p := ack.Properties
	if p.TopicAliasMaximum == nil || *p.TopicAliasMaximum != 32 {
		t.Errorf("topic alias maximum: got %v, want 32", p.TopicAliasMaximum)
	}
	if p.MaximumPacketSize == nil || *p.MaximumPacketSize != protocol.MaxPacket {
		t.Errorf("maximum packet size: got %v, want %d", p.MaximumPacketSize, protocol.MaxPacket)
	}
	if p.ReceiveMaximum == nil || *p.ReceiveMaximum != 64 {
		t.Errorf("receive maximum: got %v, want 64", p.ReceiveMaximum)
	}
	if p.MaximumQOS == nil || *p.MaximumQOS != 1 {
		t.Errorf("maximum QoS: got %v, want 1", p.MaximumQOS)
	}
	if p.SharedSubAvailable == nil || *p.SharedSubAvailable != 0 {
		t.Errorf("shared subscriptions: got %v, want unavailable", p.SharedSubAvailable)
	}
	if p.RetainAvailable != nil && *p.RetainAvailable == 0 {
		t.Error("retain is said to be unavailable: retained wills would be refused")
	}
	if len(p.User) != 1 || p.User[0].Key != "guarantee" || p.User[0].Value != "stored" {
		t.Errorf("user properties: got %v, want guarantee=stored", p.User)
	}
}

type refusedConnect struct {
	name, uri, id string
	change        func(*paho.Connect)
	want          byte
}

func refusedConnects(t *testing.T) []refusedConnect {
	will := func(change func(*paho.Connect)) func(*paho.Connect) {
		return func(c *paho.Connect) {
			withWill(t, "v", "d", 0)(c)
			change(c)
		}
	}
	return []refusedConnect{
		{"not registered", "urn:dev:unknown:d", "d", nil, 0x87},
		{"not active", "urn:dev:suspended:d", "d", nil, 0x87},
		{"unavailable", "urn:dev:starting:d", "d", nil, 0x88},
		{"other error", "urn:dev:broken:d", "d", nil, 0x88},
		{"busy", "urn:dev:busy:d", "d", nil, 0x89},
		{"certificate without identity", "https://example.com", "d", nil, 0x87},
		{"client id of another", "urn:dev:v:d", "e", nil, 0x85},
		{"no client id", "urn:dev:v:d", "", nil, 0x85},
		{"operator with a long id", "urn:ops:anna", strings.Repeat("x", 200), nil, 0x85},
		{"operator with a control character", "urn:ops:anna", "a\x01", nil, 0x85},
		{"authentication method", "urn:dev:v:d", "d", func(c *paho.Connect) { c.Properties.AuthMethod = "SCRAM" }, 0x8C},
		{"will of another vehicle", "urn:dev:v:d", "d", will(func(c *paho.Connect) { c.WillTopic = "v1/w/up/presence/d" }), 0x87},
		{"will of another device", "urn:dev:v:d", "d", will(func(c *paho.Connect) { c.WillTopic = "v1/v/up/presence/e" }), 0x87},
		{"will on another topic", "urn:dev:v:d", "d", will(func(c *paho.Connect) { c.WillTopic = "v1/v/up/health/d" }), 0x87},
		{"will with QoS 0", "urn:dev:v:d", "d", will(func(c *paho.Connect) { c.WillQOS = 0 }), 0x87},
		{"will with QoS 2", "urn:dev:v:d", "d", will(func(c *paho.Connect) { c.WillQOS = 2 }), 0x9B},
		{"will not retained", "urn:dev:v:d", "d", will(func(c *paho.Connect) { c.WillRetain = false }), 0x87},
		{"will that is no presence", "urn:dev:v:d", "d", will(func(c *paho.Connect) { c.WillMessage = []byte("lost") }), 0x99},
		{"will saying online", "urn:dev:v:d", "d", will(func(c *paho.Connect) { c.WillMessage = presencePayload(t, "d", protocol.PresenceOnline) }), 0x99},
		{"will naming another device", "urn:dev:v:d", "d", will(func(c *paho.Connect) { c.WillMessage = presencePayload(t, "e", protocol.PresenceLost) }), 0x99},
		{"will of an operator", "urn:ops:anna", "anna", will(func(*paho.Connect) {}), 0x87},
	}
}

func TestRefusedConnects(t *testing.T) {
	handler := &cloud{connect: func(c broker.Client) error {
		switch c.Vehicle {
		case "unknown":
			return fmt.Errorf("registry: %w", broker.ErrNotRegistered)
		case "suspended":
			return broker.ErrNotActive
		case "starting":
			return broker.ErrUnavailable
		case "broken":
			return errors.New("disk")
		case "busy":
			return broker.ErrBusy
		}
		return nil
	}}
	s := start(t, handler, nil)
	cases := refusedConnects(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := s.dial(s.ca.client(c.uri))
			r.send(paho.CONNECT, connectPacket(c.id, c.change))
			ack, ok := r.read().Content.(*paho.Connack)
			if !ok || ack.ReasonCode != c.want {
				t.Fatalf("connack: got %v, want code %#x", ack, c.want)
			}
			r.closed()
		})
	}
	eventually(t, "no connection left", func() bool { return s.Stats().Connections == 0 })
	eventually(t, "all counted", func() bool { return s.Stats().FailedConnects == uint64(len(cases)) })
	if got := s.Stats().RefusedConnects; got[0x85] != 4 || got[0x88] != 2 || got[0x89] != 1 {
		t.Errorf("refused connects by code: got %v", got)
	}
}

func TestVersion3Connacks(t *testing.T) {
	handler := &cloud{connect: func(c broker.Client) error {
		if c.Vehicle == "busy" {
			return broker.ErrBusy
		}
		return broker.ErrNotActive
	}}
	s := start(t, handler, nil)
	asD := "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01d"
	for _, c := range []struct{ uri, connect, want string }{
		{"urn:dev:busy:d", asD, "\x20\x02\x00\x03"},
		{"urn:dev:suspended:d", asD, "\x20\x02\x00\x05"},
		{"urn:dev:v:e", asD, "\x20\x02\x00\x02"},
		{"urn:ops:anna", "\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00", "\x20\x02\x00\x02"}, // no id, but a session to keep
	} {
		r := s.dial(s.ca.client(c.uri))
		if _, err := r.Write([]byte(c.connect)); err != nil {
			t.Fatal(err)
		}
		if got := readBytes(t, r.Conn, 4); got != c.want {
			t.Errorf("%s: got %x, want %x", c.uri, got, c.want)
		}
	}
}

func TestTooManyConnections(t *testing.T) {
	s := start(t, &cloud{}, func(c *broker.Config) { c.MaxConnections = 2; c.MaxSessions = 2 })
	expiry := func(c *paho.Connect) { c.Properties.SessionExpiryInterval = ptr(uint32(60)) }
	first, _ := s.join(s.ca.client("urn:dev:v:a"), connectPacket("a", expiry))
	s.device("v", "b")
	refused := func(want byte) {
		t.Helper()
		r := s.dial(s.ca.client("urn:dev:v:c"))
		r.send(paho.CONNECT, connectPacket("c", nil))
		if ack := r.read().Content.(*paho.Connack); ack.ReasonCode != want {
			t.Errorf("got %#x, want %#x", ack.ReasonCode, want)
		}
	}
	refused(0x89)
	first.Close()
	eventually(t, "one connection", func() bool { return s.Stats().Connections == 1 })
	refused(0x97) // the session of a still waits
}

// TestKeepAlive: mochi computes the deadline in 16 bits, so that 65,535 s would cut
// an idle client within 16 s; zero would keep a dead one for ever.
func TestKeepAlive(t *testing.T) {
	s := start(t, &cloud{}, nil)
	for _, c := range []struct {
		asked uint16
		want  *uint16
	}{{0, ptr(uint16(1200))}, {65535, ptr(uint16(1200))}, {1201, ptr(uint16(1200))}, {1200, nil}, {4, nil}} {
		_, ack := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", func(p *paho.Connect) { p.KeepAlive = c.asked }))
		got := ack.Properties.ServerKeepAlive
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("keep alive %d: server keep alive got %v, want %v", c.asked, got, c.want)
		}
	}
}

func TestSilentClientIsDropped(t *testing.T) {
	t.Parallel()
	handler := &cloud{presences: make(chan presenceCall, 1)}
	s := start(t, handler, nil)
	r := s.dial(s.ca.client("urn:dev:v:d"))
	begin := time.Now()
	r.send(paho.CONNECT, connectPacket("d", func(c *paho.Connect) {
		c.KeepAlive = 1
		withWill(t, "v", "d", 0)(c)
	}))
	r.read()
	r.closed()
	if got := time.Since(begin); got < 1500*time.Millisecond { // [MQTT-3.1.2-22]
		t.Errorf("dropped after %v, want one and a half keep alives", got)
	}
	if got := <-handler.presences; got.presence.State != protocol.PresenceLost {
		t.Errorf("presence: got %v, want lost", got.presence.State)
	}
}

func TestSessionExpiryIsBounded(t *testing.T) {
	s := start(t, &cloud{}, func(c *broker.Config) { c.MaxSessionExpiry = time.Hour })
	_, ack := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", func(c *paho.Connect) {
		c.Properties.SessionExpiryInterval = ptr(uint32(0xFFFFFFFF))
	}))
	if got := ack.Properties.SessionExpiryInterval; got == nil || *got != 3600 {
		t.Errorf("session expiry: got %v, want 3600", got)
	}
}

func TestTakeOver(t *testing.T) {
	s := start(t, &cloud{}, nil)
	t.Run("same device", func(t *testing.T) {
		first := s.device("v", "d")
		second := s.device("v", "d")
		if got := first.closed(); got != 0x8E {
			t.Errorf("disconnect: got %#x, want 0x8e", got)
		}
		second.alive()
		if !s.Connected("v", "d") {
			t.Error("the device is not connected")
		}
	})
	t.Run("same operator", func(t *testing.T) {
		first, second := s.operator("anna"), s.operator("anna")
		if got := first.closed(); got != 0x8E {
			t.Errorf("disconnect: got %#x, want 0x8e", got)
		}
		second.alive()
	})
	t.Run("operators with the same client id", func(t *testing.T) {
		anna, _ := s.join(s.ca.client("urn:ops:anna"), connectPacket("console", nil))
		ben, _ := s.join(s.ca.client("urn:ops:ben"), connectPacket("console", nil))
		anna.alive()
		ben.alive()
	})
	t.Run("operator named like a device", func(t *testing.T) {
		device := s.device("v", "d9")
		operator, _ := s.join(s.ca.client("urn:ops:ben"), connectPacket("d9", nil))
		device.alive()
		operator.alive()
	})
	t.Run("same device id in two vehicles", func(t *testing.T) {
		first, second := s.device("a", "tcu"), s.device("b", "tcu")
		first.alive()
		second.alive()
	})
	t.Run("operator without client id", func(t *testing.T) {
		_, ack := s.join(s.ca.client("urn:ops:anna"), connectPacket("", nil))
		if ack.Properties.AssignedClientID == "" {
			t.Error("no client id was assigned")
		}
	})
}

func TestDisconnectSuspendedVehicle(t *testing.T) {
	s := start(t, &cloud{}, nil)
	a, b, other := s.device("v", "a"), s.device("v", "b"), s.device("w", "a")
	if got := s.Disconnect("v", "", 0x98); got != 2 {
		t.Errorf("disconnected: got %d, want 2", got)
	}
	for _, r := range []*raw{a, b} {
		if got := r.closed(); got != 0x98 {
			t.Errorf("disconnect: got %#x, want 0x98", got)
		}
	}
	other.alive()
	if got := s.Disconnect("w", "b", 0x98); got != 0 {
		t.Errorf("disconnected: got %d, want 0", got)
	}
	if got := s.Disconnect("", "", 0x98); got != 0 {
		t.Errorf("disconnected without a vehicle: got %d, want 0", got)
	}
}

// TestResumedTLSSessionsHaveAnIdentity: the certificate is there on resumption too.
func TestResumedTLSSessionsHaveAnIdentity(t *testing.T) {
	s := start(t, &cloud{}, nil)
	config := s.ca.client("urn:dev:v:d")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i, want := range []bool{false, true} {
		r, _ := s.join(config, connectPacket("d", nil))
		if got := r.ConnectionState().DidResume; got != want {
			t.Errorf("connection %d resumed: got %v, want %v", i, got, want)
		}
		if got := r.publish(1, "v1/v/up/telemetry/c", "x"); got != 0 {
			t.Errorf("connection %d publish: got %#x", i, got)
		}
		r.Close()
	}
}

func TestSecondConnectIsRefused(t *testing.T) {
	s := start(t, &cloud{}, nil)
	r := s.device("v", "d")
	r.send(paho.CONNECT, connectPacket("d", nil))
	if got := r.closed(); got != 0x82 {
		t.Errorf("disconnect: got %#x, want 0x82", got)
	}
}

func TestPacketsOfQoS2AndAuthAreRefused(t *testing.T) {
	s := start(t, &cloud{}, nil)
	for name, packet := range map[string]string{
		"PUBREC": "\x50\x02\x00\x01", "PUBREL": "\x62\x02\x00\x01", "PUBCOMP": "\x70\x02\x00\x01", "AUTH": "\xf0\x02\x18\x00",
	} {
		r := s.device("v", "d")
		if _, err := r.Write([]byte(packet)); err != nil {
			t.Fatal(err)
		}
		if got := r.closed(); got != 0x82 {
			t.Errorf("%s: disconnect got %#x, want 0x82", name, got)
		}
	}
}

func TestNewRefusesHalfAConfig(t *testing.T) {
	ca := newAuthority(t)
	whole := broker.Config{Listen: "127.0.0.1:0", TLS: ca.server(), Identify: identify, Handler: &cloud{}}
	for name, change := range map[string]func(*broker.Config){
		"no handler":       func(c *broker.Config) { c.Handler = nil },
		"no identify":      func(c *broker.Config) { c.Identify = nil },
		"no TLS":           func(c *broker.Config) { c.TLS = nil },
		"TLS not mutual":   func(c *broker.Config) { c.TLS = &tls.Config{} },
		"unusable address": func(c *broker.Config) { c.Listen = "nowhere" },
	} {
		cfg := whole
		change(&cfg)
		if _, err := broker.New(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
