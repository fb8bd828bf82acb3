package broker_test

import (
	"fmt"
	"testing"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
)

// lasting is a CONNECT whose session outlives its connection.
func lasting(id string) *paho.Connect {
	expiry := uint32(3600)
	return connectPacket(id, func(c *paho.Connect) {
		c.CleanStart = false
		c.Properties = &paho.Properties{SessionExpiryInterval: &expiry}
	})
}

// refusal gives the CONNACK's code, and the connection.
func (s *stage) refusal(uri, id string) byte {
	s.t.Helper()
	r := s.dial(s.ca.client(uri))
	r.send(paho.CONNECT, lasting(id))
	ack, ok := r.read().Content.(*paho.Connack)
	if !ok {
		s.t.Fatal("got no CONNACK")
	}
	return ack.ReasonCode
}

// TestSessionsOfAnOperator: one operator with ever new client identifiers ends its own sessions, and takes none of
// another operator's or of the devices'.
func TestSessionsOfAnOperator(t *testing.T) {
	s := start(t, &cloud{}, func(c *broker.Config) { c.SessionsPerOperator, c.MaxOperatorSessions, c.MaxSessions = 3, 4, 1 })
	anna := s.ca.client("urn:ops:anna")
	kept, _ := s.join(anna, lasting("kept")) // connected all the time
	for i := range 10 {
		r, ack := s.join(anna, lasting(fmt.Sprint(i)))
		if ack.ReasonCode != 0 {
			t.Fatalf("session %d: got CONNACK 0x%02X, want success", i, ack.ReasonCode)
		}
		r.send(paho.DISCONNECT, &paho.Disconnect{})
		r.closed()
	}
	kept.alive()
	if _, ack := s.join(anna, lasting("9")); !ack.SessionPresent {
		t.Error("the newest session is gone")
	}
	if _, ack := s.join(anna, lasting("0")); ack.SessionPresent || ack.ReasonCode != 0 {
		t.Errorf("the oldest session: got %+v, want a new one", ack)
	}
	for _, c := range []struct {
		what, uri, id string
		want          byte
	}{
		{"a fourth one that is connected", "urn:ops:anna", "more", 0x97},
		{"another operator", "urn:ops:ben", "a", 0},
		{"more than all operators may have", "urn:ops:ben", "b", 0x97},
		{"a device", "urn:dev:v:d", "d", 0},
		{"more than devices may have", "urn:dev:v:e", "e", 0x97},
	} {
		if got := s.refusal(c.uri, c.id); got != c.want {
			t.Errorf("%s: got CONNACK 0x%02X, want 0x%02X", c.what, got, c.want)
		}
	}
	if got := s.Stats().Sessions; got != 5 {
		t.Errorf("got %d sessions, want 5", got)
	}
}
