package cloud_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol/events"
)

// TestDataLost: a device tells over MQTT that it lost its data partition; the API shows it, also
// after a restart of the cloud, and who watches is told once.
func TestDataLost(t *testing.T) {
	cfg := config(t.TempDir())
	s := start(t, cfg)
	car := s.device("car1", "tcu")
	live := s.watch("car1")
	until(t, live, `"presence":"unknown"`)
	shows := func(s *stage, check func(*loss) bool) {
		t.Helper()
		s.eventually(func() string {
			var devices []device
			s.get("/v1/vehicles/car1/presence", &devices)
			if len(devices) != 1 || !check(devices[0].Loss) {
				return fmt.Sprintf("got %+v", devices)
			}
			return ""
		})
	}
	say := func(word events.Storage) {
		t.Helper()
		word.Version, word.Device = 1, "tcu"
		car.stored("v1/car1/up/event/storage", marshal(t, word), "pr", "CS5")
	}
	other := events.Storage{Version: 1, Device: "ivi", State: events.StorageMemoryOnly, Loss: "x"}
	car.stored("v1/car1/up/event/storage", marshal(t, other), "pr", "CS5") // is passed over, as this is
	car.stored("v1/car1/up/event/storage", []byte("junk"), "pr", "CS5")

	say(events.Storage{State: events.StorageRecreated, Loss: "a", Reason: "superblock: EOF"})
	say(events.Storage{State: events.StorageRecreated, Loss: "a", Reason: "superblock: EOF"})
	shows(s, func(l *loss) bool {
		return l != nil && l.Storage == "recreated" && l.Reason == "superblock: EOF" && l.Over == nil && time.Since(l.Told) < time.Minute
	})
	say(events.Storage{State: events.StorageKept})
	shows(s, func(l *loss) bool { return l != nil && l.Storage == "recreated" && l.Over != nil })
	say(events.Storage{State: events.StorageMemoryOnly, Loss: "b"})
	shows(s, func(l *loss) bool { return l != nil && l.Storage == "memory-only" && l.Over == nil })
	for _, want := range []string{`"storage":"recreated","reason":"superblock: EOF"`, `"storage":"kept"`, `"storage":"memory-only"`} {
		if got := until(t, live, `"storage":`); !strings.Contains(got, want) || !strings.Contains(got, `"did":"tcu"`) {
			t.Errorf("live: got %s, want %s", got, want)
		}
	}
	s.stop()
	shows(start(t, cfg), func(l *loss) bool { return l != nil && l.Storage == "memory-only" && l.Over == nil })
}
