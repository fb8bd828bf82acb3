package cloud_test

import (
	"fmt"
	"testing"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
)

// presenceIs waits until the API says so of the device tcu of a vehicle.
func (s *stage) presenceIs(vid string, want protocol.PresenceState) {
	s.t.Helper()
	s.eventually(func() string {
		var v vehicle
		s.get("/v1/vehicles/"+vid, &v)
		for _, d := range v.Devices {
			if d.ID == "tcu" && d.Presence == string(want) {
				return ""
			}
		}
		return fmt.Sprintf("got %+v, want tcu to be %s", v.Devices, want)
	})
}

// TestPresenceNeedsNeitherQuotaNorDisk: the last word of a device is taken when nothing else is.
func TestPresenceNeedsNeitherQuotaNorDisk(t *testing.T) {
	quota, full := config(t.TempDir()), config(t.TempDir())
	quota.Quota = ingest.Quota{Messages: 0.01, MessagesBurst: 20}
	full.Limits = map[string]backbone.Limits{"UP": {MaxBytes: 20_000}, "LOW": {MaxBytes: 20_000}}
	for name, cfg := range map[string]func() *stage{
		"over quota": func() *stage { return start(t, quota) }, "full": func() *stage { return start(t, full) },
	} {
		t.Run(name, func(t *testing.T) {
			s := cfg()
			topic := "v1/car1/up/presence/tcu"
			car, other := s.device("car1", "tcu"), s.device("car1", "ivi")
			car.stored(topic, presence(t, "tcu", protocol.PresenceOnline))
			s.presenceIs("car1", protocol.PresenceOnline)
			for i := 0; other.send("v1/car1/up/telemetry/x", make([]byte, 2000)) != ingest.CodeQuotaExceeded; i++ {
				if i > 1000 {
					t.Fatal("the other device was never refused")
				}
			}
			car.stored(topic, presence(t, "tcu", protocol.PresenceOffline))
			s.presenceIs("car1", protocol.PresenceOffline)

			car.stored(topic, presence(t, "tcu", protocol.PresenceOnline))
			s.presenceIs("car1", protocol.PresenceOnline)
			car.leave() // DISCONNECT with reason code 0, and no word
			s.presenceIs("car1", protocol.PresenceOffline)
		})
	}
}

// TestPresenceOverARestart: what the cloud does not see it does not claim to know.
func TestPresenceOverARestart(t *testing.T) {
	cfg := config(t.TempDir())
	s := start(t, cfg)
	s.device("car1", "tcu").stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	s.presenceIs("car1", protocol.PresenceOnline)
	s.stop()
	s = start(t, cfg)
	s.presenceIs("car1", protocol.PresenceUnknown)
	s.device("car1", "tcu").stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	s.presenceIs("car1", protocol.PresenceOnline)
}

// TestPresenceOfASuspendedVehicle: it is disconnected, and not online.
func TestPresenceOfASuspendedVehicle(t *testing.T) {
	s := start(t, config(t.TempDir()))
	s.device("car1", "tcu").stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	s.presenceIs("car1", protocol.PresenceOnline)
	if got := s.ask("POST", "/v1/vehicles/car1/suspend", nil); got >= 300 {
		t.Fatalf("suspend: got status %d", got)
	}
	s.presenceIs("car1", protocol.PresenceLost)
}

// TestPresenceIsForwardedAsSaid: with properties and with what this version does not know, also retained.
func TestPresenceIsForwardedAsSaid(t *testing.T) {
	s := start(t, config(t.TempDir()))
	ops := s.operator("olga")
	ops.subscribe("v1/car1/up/presence/tcu")
	said := marshal(t, map[string]any{"v": 1, "state": "online", "did": "tcu", "boot": boot[:], "conn": 1, "at": 0, "agent": "x", "later": 4})
	car := s.device("car1", "tcu")
	car.stored("v1/car1/up/presence/tcu", said, "pr", "CS2", "x", "1", "x", "2")
	s.presenceIs("car1", protocol.PresenceOnline)
	if p := ops.next(patience); string(p.Payload) != string(said) || len(p.Properties.User) != 3 || p.Properties.User[2].Value != "2" {
		t.Errorf("got %x with %v, want what was said", p.Payload, p.Properties.User)
	}
	second := s.operator("piet")
	second.subscribe("v1/car1/up/presence/tcu")
	if p := second.next(patience); string(p.Payload) != string(said) || !p.Retain {
		t.Errorf("got %x, want what was said, retained", p.Payload)
	}
}
