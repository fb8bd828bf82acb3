package cloud_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
)

// TestDeletedVehicleHasNoPresence: the last word of the connection that a deletion ends is told to who watches, and
// not kept; and the session has ended, so that the device finds nothing of before when it comes again.
func TestDeletedVehicleHasNoPresence(t *testing.T) {
	s := start(t, config(t.TempDir()))
	ops, car := s.operator("olga"), s.device("car1", "tcu")
	ops.stored("v1/ops/config/campaign/c", []byte(campaignDoc("c", 1, "")))
	ops.subscribe("v1/car1/up/presence/+")
	car.stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	said := func(want protocol.PresenceState) {
		t.Helper()
		var p protocol.Presence
		if m := ops.next(patience); document.Unmarshal(m.Payload, &p) != nil || p.State != want {
			t.Fatalf("got %+v on %s, want %s", p, m.Topic, want)
		}
	}
	said(protocol.PresenceOnline)
	if code := s.ask(http.MethodDelete, "/v1/vehicles/car1?confirm=car1", nil); code != 200 {
		t.Fatalf("got %d, want 200", code)
	}
	said(protocol.PresenceLost)
	late := s.operator("otto")
	late.subscribe("v1/car1/up/presence/+")
	late.subscribe("v1/ops/config/campaign/c/result")
	if m := late.next(patience); m.Topic != "v1/ops/config/campaign/c/result" {
		t.Errorf("got a message on %s, want none of the deleted vehicle", m.Topic)
	}
}

// TestDeleteVehicle: a deleted vehicle is nowhere but in the lake, also after a restart, and may begin anew.
func TestDeleteVehicle(t *testing.T) {
	cfg := config(t.TempDir())
	s := start(t, cfg)
	ops, car := s.operator("olga"), s.device("car1", "tcu")
	ops.stored("v1/ops/config/campaign/c", []byte(campaignDoc("c", 1, "")))
	car.stored("v1/car1/up/config/campaigns/status", status(t, "c", 1, document.Active), "pr", "CS4")
	m := newTelemetry(t, "c")
	car.stored(m.schemaTopic("car1"), m.doc)
	car.stored(m.topic("car1"), m.batch("tcu", 1, time.Now(), 5000, 3), "id", protocol.MessageID{Device: "tcu", Boot: boot, Seq: 1}.String())
	var campaigns []struct {
		Vehicles map[string]int
	}
	s.eventually(func() string {
		if s.get("/v1/vehicles/car1/state", nil); len(campaigns) == 0 || campaigns[0].Vehicles["ACTIVE"] != 1 {
			s.get("/v1/campaigns", &campaigns)
			return "no answer of the vehicle yet"
		}
		var signals []struct{}
		if s.get("/v1/vehicles/car1/state", &signals); len(signals) == 0 {
			return "no state yet"
		}
		if files, _ := filepath.Glob(filepath.Join(s.dir, "lake", "*", "*", "*.parquet")); len(files) == 0 {
			files, _ = filepath.Glob(filepath.Join(s.dir, "lake", "*", "*.parquet"))
			if len(files) == 0 {
				return "nothing in the lake yet"
			}
		}
		return ""
	})
	if code := s.ask(http.MethodDelete, "/v1/vehicles/car1", nil); code != 400 {
		t.Errorf("without a confirmation: got %d, want 400", code)
	}
	if code := s.ask(http.MethodDelete, "/v1/vehicles/car1?confirm=car1", nil); code != 200 {
		t.Errorf("got %d, want 200", code)
	}
	gone := func(when string) {
		t.Helper()
		for _, path := range []string{"", "/state", "/presence", "/ledger", "/update"} {
			if code := s.get("/v1/vehicles/car1"+path, nil); code != 404 {
				t.Errorf("%s: %s: got %d, want 404", when, path, code)
			}
		}
		var list []struct{}
		campaigns = nil
		if s.get("/v1/vehicles", &list); len(list) != 0 {
			t.Errorf("%s: got %d vehicles, want none", when, len(list))
		}
		if s.get("/v1/campaigns", &campaigns); len(campaigns) != 1 || campaigns[0].Vehicles["ACTIVE"] != 0 {
			t.Errorf("%s: got %+v, want nobody's word", when, campaigns)
		}
	}
	gone("at once")
	if code := s.ask(http.MethodDelete, "/v1/vehicles/car1?confirm=car1", nil); code != 404 {
		t.Errorf("again: got %d, want 404", code)
	}
	s.stop()
	s = start(t, cfg)
	gone("after a restart")
	s.device("car1", "tcu") // its certificate is good, and this is development
	var signals []struct{}
	if code := s.get("/v1/vehicles/car1/state", &signals); code != 200 || len(signals) != 0 {
		t.Errorf("anew: got %d and %d signals, want a vehicle of which nothing is known", code, len(signals))
	}
}
