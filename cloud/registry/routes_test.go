package registry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2/humatest"

	"telltale.dev/cloud/registry"
	"telltale.dev/protocol"
)

// TestRoutes: what the routes about vehicles answer, and what they have others do.
func TestRoutes(t *testing.T) {
	store, log := &memory{}, &bytes.Buffer{}
	r := open(t, store)
	for _, did := range []protocol.DeviceID{"tcu", "ivi"} {
		if err := r.Register(t.Context(), "car1", did, noon); err != nil {
			t.Fatal(err)
		}
	}
	var did []string
	secret := errors.New("secret cause")
	desk := &registry.Desk{Registry: r, Outlook: registry.Outlook{
		Since: noon,
		Presence: func(_ protocol.VehicleID, did protocol.DeviceID) (protocol.Presence, time.Time, bool) {
			return protocol.Presence{Device: did, State: protocol.PresenceAsleep, WakesAt: noon.UnixMilli()}, noon, did == "tcu"
		},
		Signals:    func(protocol.VehicleID) (int, int64) { return 2, noon.UnixMicro() },
		Disconnect: func(vid protocol.VehicleID, d protocol.DeviceID) { did = append(did, "disconnect "+string(d)) },
		DeleteEverywhere: func(_ context.Context, vid protocol.VehicleID) (bool, error) {
			did = append(did, "delete "+string(vid))
			return vid == "car1", store.fail
		},
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}}
	_, api := humatest.New(t)
	desk.Routes(api)
	for _, c := range []struct {
		method, path string
		broken       error
		status       int
		has          string
	}{
		{"GET", "", nil, 200, `"vid":"car1"`},
		{"GET", "/car1", nil, 200, `"state":"ACTIVE"`},
		{"GET", "/car1", nil, 200, `"signals":2,"last_sample":"2026-11-23T12:00:00Z"`},
		{"GET", "/x", nil, 404, "no vehicle"},
		{"GET", "/" + strings.Repeat("x", 65), nil, 422, "length"},
		{"GET", "/car1/presence", nil, 200, `"did":"tcu","presence":"asleep","since":"2026-11-23T12:00:00Z","wakes":"2026-11-23T12:00:00Z"`},
		{"GET", "/car1/presence", nil, 200, `"did":"ivi","presence":"unknown"`},
		{"GET", "/x/presence", nil, 404, "no vehicle"},
		{"POST", "/car1/suspend", secret, 503, "vehicle not changed"},
		{"POST", "/car1/suspend", nil, 204, ""},
		{"GET", "/car1", nil, 200, `"state":"SUSPENDED"`},
		{"POST", "/car1/activate", nil, 204, ""},
		{"POST", "/x/suspend", nil, 404, "no vehicle"},
		{"POST", "/x/activate", nil, 404, "no vehicle"},
		{"DELETE", "/car1", nil, 400, "confirm"},
		{"DELETE", "/car1?confirm=car2", nil, 400, "confirm"},
		{"DELETE", "/x?confirm=x", nil, 404, "no vehicle"},
		{"DELETE", "/car1?confirm=car1", secret, 503, "not all of it"},
		{"DELETE", "/car1?confirm=car1", nil, 200, "rows in the lake"},
	} {
		store.fail = c.broken
		resp := api.Do(c.method, "/v1/vehicles"+c.path)
		if resp.Code != c.status || !strings.Contains(resp.Body.String(), c.has) || strings.Contains(resp.Body.String(), "secret") {
			t.Errorf("%s %s: got %d %s, want %d with %q", c.method, c.path, resp.Code, resp.Body, c.status, c.has)
		}
	}
	if got, want := strings.Join(did, ", "), "disconnect tcu, disconnect ivi, delete x, delete car1, delete car1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := strings.Count(log.String(), "secret cause"); n != 2 {
		t.Errorf("got the cause %d times in the log, want 2", n)
	}
}
