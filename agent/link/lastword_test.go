package link_test

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/agent/link"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// TestWillIsOnlyCalledOffByAnAcceptedLastWord: a device whose last word the server did
// not take must not be shown as online for ever, so its DISCONNECT asks for the will
// [MQTT-3.14.2-1] (0x04).
func TestWillIsOnlyCalledOffByAnAcceptedLastWord(t *testing.T) {
	t.Parallel()
	cases := map[byte]byte{
		0x00: 0x00, 0x10: 0x00, // stored, also when nobody subscribes
		0x80: 0x04, 0x83: 0x04, 0x87: 0x04, 0x90: 0x04, 0x91: 0x04, 0x97: 0x04, 0x99: 0x04,
		noAnswer: 0x04,
	}
	var refusals atomic.Int64 // the quickest farewell after a refusal
	refusals.Store(math.MaxInt64)
	t.Cleanup(func() {
		if took := time.Duration(refusals.Load()); took > 900*time.Millisecond {
			t.Errorf("the quickest took %v: a refusal is an answer, too", took)
		}
	})
	for code, want := range cases {
		for _, asleep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%#02x asleep %v", code, asleep), func(t *testing.T) {
				t.Parallel()
				s := serve(t, &server{answer: func(p publish) byte {
					if p.topic.Kind == topics.Presence && parsePresence(t, p.payload).State != protocol.PresenceOnline {
						return code
					}
					return 0
				}}, nil)
				r := start(t, newMemory(), func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
				eventually(t, "birth", func() bool { return r.Stats().Connected && len(s.received()) == 1 })
				began := time.Now()
				if err := r.Leave(t.Context(), link.Goodbye{Asleep: asleep}); err != nil {
					t.Fatal(err)
				}
				eventually(t, "goodbye", func() bool { return len(s.farewells()) == 1 })
				if got := s.farewells()[0]; got != want {
					t.Errorf("DISCONNECT: got %#02x, want %#02x", got, want)
				}
				if took := int64(time.Since(began)); code != noAnswer && want != 0 {
					for least := refusals.Load(); took < least && !refusals.CompareAndSwap(least, took); least = refusals.Load() {
					}
				}
			})
		}
	}
}

// TestUnusableServerGetsNoNormalDisconnect: the will of an earlier connection may be
// what this server waits with.
func TestUnusableServerGetsNoNormalDisconnect(t *testing.T) {
	t.Parallel()
	s := serve(t, &server{connack: func(_ int, _ *packets.Connect, ca *packets.Connack) {
		none := byte(0)
		ca.Properties.MaximumQOS = &none
	}}, nil)
	start(t, newMemory(), func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	eventually(t, "goodbye", func() bool { return len(s.farewells()) > 0 })
	if got := s.farewells()[0]; got != 0x04 {
		t.Errorf("DISCONNECT: got %#02x, want 0x04", got)
	}
}
