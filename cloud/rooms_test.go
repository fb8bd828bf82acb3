package cloud_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"telltale.dev/cloud"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
)

// withFences is a cloud with one room more, which refuses the first offers.
func withFences(dir string, refuse int) cloud.Config {
	return cloud.WithRoom(config(dir), "geofence", func(ctx context.Context, g backbone.Ground) (*fences, error) {
		f, err := openFences(ctx, g)
		f.refuse = refuse
		return f, err
	})
}

// TestAddRoom: a room is one line of the table. What a device sends over MQTT and TLS is kept by it, shown by its
// own route, told to who watches, counted, there after a restart, and gone with the vehicle.
func TestAddRoom(t *testing.T) {
	dir := t.TempDir()
	s := start(t, withFences(dir, 2))
	car := s.device("car1", "tcu")
	lines := s.watch("car1")
	until(t, lines, "event: presence")
	const topic = "v1/car1/up/event/geofence"
	if code := car.send("v1/car1/up/event/made.up", []byte{0xa0}); code != 0x90 {
		t.Errorf("an event that no room takes: got PUBACK 0x%02X, want 0x90", code)
	}
	ops := s.operator("olga")
	if code := ops.send("v1/ops/config/made-up/home", []byte("round")); code != 0x90 {
		t.Errorf("a document that no room takes: got PUBACK 0x%02X, want 0x90", code)
	}
	ops.stored("v1/ops/config/geofence/home", []byte("round"))
	ops.subscribe("v1/ops/config/geofence/+/result")
	if m := ops.next(patience); m.Topic != "v1/ops/config/geofence/home/result" || string(m.Payload) != "round" {
		t.Errorf("got %q on %s, want what was drawn", m.Payload, m.Topic)
	}
	if code := car.send("v1/ops/config/geofence/home", []byte("square")); code < 0x80 {
		t.Errorf("a document of a vehicle for operators' rooms: got PUBACK 0x%02X, want it refused", code)
	}
	car.stored(topic, marshal(t, crossing{Version: 1, Device: "tcu", Zone: "home", Inside: true}))
	until(t, lines, "event: geofence")
	until(t, lines, "data: ", `"zone":"home"`, `"inside":true`)
	car.stored(topic, marshal(t, map[string]any{"v": 1, "did": "tcu", "zone": "depot"}))
	car.stored(topic, marshal(t, crossing{Version: 1, Device: "other", Zone: "depot"}))
	s.eventually(func() string {
		var letters []ingest.DeadLetter
		s.get("/v1/dead-letters", &letters)
		if len(letters) != 2 || !strings.Contains(letters[0].Detail, "inside") || !strings.Contains(letters[1].Detail, "another device") {
			return "want two dead letters, which name the missing field and the other device"
		}
		return ""
	})
	_, text := s.body("/metrics")
	for _, want := range []string{
		"telltale_geofence_crossings_total 1\n", "telltale_geofence_unreadable_total 2\n", "telltale_campaign_unreadable_total 0\n",
		"telltale_backbone_dead_letters 2\n", "telltale_backbone_timers 0\n", "telltale_backbone_conflicts_total 0\n", "telltale_consumer_refused_total 2\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics: want %q", want)
		}
	}
	if _, text := s.body("/openapi.yaml"); !strings.Contains(text, "/v1/vehicles/{vid}/geofences:") || !strings.Contains(text, "Event geofence") {
		t.Error("the description has neither route nor event of the room, or not both")
	}
	s.stop()

	s = start(t, withFences(dir, 0))
	var zones []fence
	if code := s.get("/v1/vehicles/car1/geofences", &zones); code != http.StatusOK || len(zones) != 1 || !zones[0].Inside || zones[0].Zone != "home" {
		t.Errorf("after a restart: got %d, %+v, want the zone", code, zones)
	}
	if code := s.ask(http.MethodDelete, "/v1/vehicles/car1?confirm=car1", nil); code != http.StatusOK {
		t.Fatalf("got %d, want the vehicle deleted", code)
	}
	if code := s.get("/v1/vehicles/car1/geofences", nil); code != http.StatusNotFound {
		t.Errorf("of a deleted vehicle: got %d, want 404", code)
	}
	s.stop()
	s = start(t, withFences(dir, 0))
	s.device("car1", "tcu") // a new vehicle of that name
	if code := s.get("/v1/vehicles/car1/geofences", &zones); code != http.StatusOK || len(zones) != 0 {
		t.Errorf("a new vehicle of the name: got %d, %+v, want no zone", code, zones)
	}
}

// TestDescription: the committed file is what go generate writes, the routes of all rooms in it.
func TestDescription(t *testing.T) {
	want, err := cloud.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("api", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("api/openapi.yaml is not what go generate writes; run make generate")
	}
}

// TestUnknownQueries: no route of any room passes over a parameter that it does not know, and each is described.
func TestUnknownQueries(t *testing.T) {
	s := start(t, config(t.TempDir()))
	text, err := cloud.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var described struct {
		Paths map[string]map[string]struct {
			OperationID string `yaml:"operationId"`
			Summary     string
			Responses   map[string]any
		}
	}
	if err := yaml.Unmarshal(text, &described); err != nil {
		t.Fatal(err)
	}
	routes := 0
	for path, methods := range described.Paths {
		for method, op := range methods {
			routes++
			if op.OperationID == "" || op.Summary == "" || len(op.Responses) == 0 {
				t.Errorf("%s %s: got %+v in the description, want id, summary and responses", method, path, op)
			}
			address := strings.NewReplacer("{vid}", "car1", "{id}", "00112233445566ff", "{file}", strings.Repeat("0", 64), "{sequence}", "1").Replace(path)
			if code := s.ask(strings.ToUpper(method), address+"?nonsense=1", nil); code != http.StatusBadRequest {
				t.Errorf("%s %s: got %d for an unknown parameter, want 400", method, path, code)
			}
		}
	}
	if routes < 30 {
		t.Errorf("got %d routes, want those of all rooms", routes)
	}
}
