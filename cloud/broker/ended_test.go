package broker_test

import (
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
)

// TestEndedIsEnded: a client that is told to go, keeps its connection and goes on with PINGREQs is read no more: it is gone.
func TestEndedIsEnded(t *testing.T) {
	t.Parallel()
	s := start(t, &cloud{}, nil)
	r := s.device("v", "d")
	if _, err := r.Write([]byte(framed("\x33\x00\x13v1/v/up/telemetry/c\x00\x01\x00x"))); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				_, _ = r.Write([]byte{paho.PINGREQ << 4, 0})
			}
		}
	}()
	eventually(t, "gone", func() bool { return s.Stats().Connections == 0 })
}

// TestKickBesideWriter: a reason to end that comes while the writer works is never overlooked.
func TestKickBesideWriter(t *testing.T) {
	t.Parallel()
	s := start(t, &cloud{}, nil)
	config := s.ca.client("urn:dev:v:d")
	for range 200 {
		r, _ := s.join(config, connectPacket("d", nil))
		if _, err := r.Write([]byte("\xc0\x00\xe1\x00")); err != nil { // PINGREQ, and DISCONNECT with flags that it has not
			t.Fatal(err)
		}
		_ = r.closed()
	}
	eventually(t, "gone", func() bool { return s.Stats().Connections == 0 })
}

// TestPanicOfWriter: what cannot be written ends one connection, and nothing else.
func TestPanicOfWriter(t *testing.T) {
	t.Parallel()
	s := start(t, &cloud{publish: func(_ broker.Publish, done func(byte)) { done(0x97) }}, func(c *broker.Config) { c.Explain = func(byte) string { panic("no words") } })
	r := s.device("v", "d")
	r.send(paho.PUBLISH, &paho.Publish{PacketID: 1, QoS: 1, Topic: "v1/v/up/telemetry/c", Payload: []byte("x")})
	eventually(t, "gone", func() bool { return s.Stats().Connections == 0 })
	if got := s.Stats().Panics; got != 1 {
		t.Errorf("got %d panics, want 1", got)
	}
	s.device("w", "d").alive()
}

// TestArrivingPackets: packets that do not come to their end have a bound of memory for all clients together.
func TestArrivingPackets(t *testing.T) {
	t.Parallel()
	s := start(t, &cloud{}, func(c *broker.Config) { c.MaxArrivingBytes = 300 << 10 })
	const length = 200 << 10
	head := []byte{paho.PUBLISH<<4 | 2, length&0x7f | 0x80, length>>7&0x7f | 0x80, length >> 14}
	for _, vid := range []string{"a", "b"} {
		_, _ = s.device(vid, "d").Write(append(head, make([]byte, 140<<10)...)) // one of them may be closed meanwhile
	}
	eventually(t, "one alone", func() bool { return s.Stats().Connections == 1 && s.Stats().Disconnects[0x97] == 1 })
	r := s.device("c", "d")
	if code := r.publish(1, "v1/c/up/telemetry/c", "small"); code != 0 {
		t.Errorf("a small one: got %#02x, want 0", code)
	}
}
