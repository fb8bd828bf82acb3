package state_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2/humatest"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
)

// room is an open one with its routes, which knows car1 only.
func room(t *testing.T, store backbone.Store) (*state.Room, humatest.TestAPI) {
	t.Helper()
	r, err := state.Open(context.Background(), backbone.Ground{
		Store: store, Known: func(vid protocol.VehicleID) bool { return vid == car }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, api := humatest.New(t)
	r.Routes(api)
	return r, api
}

func TestRoutes(t *testing.T) {
	store := &memory{}
	r, api := room(t, store)
	r.Apply(car, schema(1), one(at(0), 100), noon, false)
	for _, c := range []struct {
		path   string
		status int
		has    string
	}{
		{"car1/state", 200, `"signal":"s0"`},
		{"car1/state", 200, `"raw":100`},
		{"car1/state?signal=s*", 200, `"value":50`},
		{"car1/state?signal=none", 200, "[]"},
		{"car1/state?signal=%5B", 400, "glob"},
		{"car1/state?cursor=!", 400, "cursor"},
		{"x/state", 404, "no vehicle"},
		{"car1/history?bus=can0&message=M&signal=s0", 200, `"value":50`},
		{"car1/history?bus=can0&message=M&signal=no", 404, "no such"},
		{"car1/history?bus=can0", 422, "required"},
	} {
		resp := api.Get("/v1/vehicles/" + c.path)
		if resp.Code != c.status || !strings.Contains(resp.Body.String(), c.has) {
			t.Errorf("%s: got %d %s, want %d with %q", c.path, resp.Code, resp.Body, c.status, c.has)
		}
	}
	if err := r.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, api = room(t, store); !strings.Contains(api.Get("/v1/vehicles/car1/state").Body.String(), `"value":50`) {
		t.Error("after a restart: got no value, want 50")
	}
	if err := r.Forget(t.Context(), car); err != nil || len(store.entries) != 0 {
		t.Errorf("got %v and %d entries of a deleted vehicle, want none", err, len(store.entries))
	}
}

// TestStatePages: a page is cut by bus, message and signal, and takes the globs along.
func TestStatePages(t *testing.T) {
	r, api := room(t, &memory{})
	r.Apply(car, schema(3), column(0, 3, []int64{at(0)}, []int64{7}, nil), noon, false)
	var got []string
	path := "/v1/vehicles/car1/state?limit=1&signal=s0&signal=s2"
	for path != "" && len(got) < 10 {
		resp := api.Get(path)
		var signals []struct{ Signal string }
		if err := json.Unmarshal(resp.Body.Bytes(), &signals); err != nil || len(signals) != 1 {
			t.Fatalf("%s: got %d %s, want one signal", path, resp.Code, resp.Body)
		}
		got = append(got, signals[0].Signal)
		path, _, _ = strings.Cut(strings.TrimPrefix(resp.Header().Get("Link"), "<"), ">")
	}
	if strings.Join(got, " ") != "s0 s2" {
		t.Errorf("got %q, want s0 and s2", got)
	}
}

func TestHistoryPages(t *testing.T) {
	r, api := room(t, &memory{})
	begin := time.Date(2026, 1, 1, 0, 0, 0, 500e6, time.UTC)
	for i := range int64(10) {
		r.Apply(car, schema(1), one(begin.UnixMicro()+i*1e6, 2*i), begin, false)
	}
	const path = "/v1/vehicles/car1/history?bus=can0&message=M&signal=s0"
	for query, want := range map[string]string{
		"": "0123456789", "&limit=4": "6789 2345 01", "&from=2026-01-01T00:00:03Z": "3456789", "&to=2026-01-01T00:00:03Z": "012",
		"&from=2026-01-01T00:00:03Z&limit=3":                            "345 678 9",
		"&from=2026-01-01T00:00:03Z&to=2026-01-01T00:00:08Z&limit=2":    "34 56 7",
		"&from=2026-01-01T00:00:03.5Z&to=2026-01-01T01:00:04.5%2B01:00": "3",
		"&to=2026-01-01T00:00:05Z&limit=2":                              "34 12 0", "&from=2027-01-01T00:00:00Z": "",
	} {
		var got []string
		for next := path + query; next != "" && len(got) < 100; {
			resp := api.Get(next)
			var points []struct{ Value int }
			if err := json.Unmarshal(resp.Body.Bytes(), &points); err != nil || resp.Code != http.StatusOK {
				t.Fatalf("%s: got %d %s", next, resp.Code, resp.Body)
			}
			text := ""
			for _, p := range points {
				text += string(rune('0' + p.Value))
			}
			got = append(got, text)
			next, _, _ = strings.Cut(strings.TrimPrefix(resp.Header().Get("Link"), "<"), ">")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	for query, status := range map[string]int{"&limit=0": 422, "&limit=x": 422, "&from=yesterday": 422, "&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": 400} {
		if resp := api.Get(path + query); resp.Code != status {
			t.Errorf("%s: got %d %s, want %d", query, resp.Code, resp.Body, status)
		}
	}
}

// TestNumbers: what JSON cannot say is null.
func TestNumbers(t *testing.T) {
	for n, want := range map[backbone.Number]string{backbone.Number(math.NaN()): "null", backbone.Number(math.Inf(-1)): "null", 1.5: "1.5"} {
		if got, err := json.Marshal(n); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}
