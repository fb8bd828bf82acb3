package cloud_test

import (
	"fmt"
	"testing"

	"telltale.dev/protocol"
)

// TestConnectWrites: what a connection of a device writes to the disk is one message when it says that it is online and
// one when it ends, and once in its life its registration.
func TestConnectWrites(t *testing.T) {
	s := start(t, config(t.TempDir()))
	for round := range uint64(3) {
		car := s.device("car1", "tcu")
		car.stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
		s.presenceIs("car1", protocol.PresenceOnline)
		s.written("car1", 2*round+1)
		car.leave() // and no word of its own
		s.presenceIs("car1", protocol.PresenceOffline)
		s.written("car1", 2*round+2)
	}
}

// written waits until so many messages are stored, and wants one registration and no further message.
func (s *stage) written(vid string, want uint64) {
	s.t.Helper()
	s.eventually(func() string {
		messages, registrations, err := s.Written(s.t.Context(), vid)
		if err != nil || registrations != 1 || messages > want {
			s.t.Fatalf("got %d messages, %d registrations, error %v, want %d and 1", messages, registrations, err, want)
		}
		if messages < want {
			return fmt.Sprintf("got %d messages, want %d", messages, want)
		}
		return ""
	})
}
