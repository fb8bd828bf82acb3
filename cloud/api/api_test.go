package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"telltale.dev/cloud/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rooms is what a Server asks, with one vehicle "car1".
type rooms struct {
	mu     sync.Mutex // guards active
	active map[string]bool
	broken error // what the storage says
	more   int   // further vehicles
}

func (r *rooms) Vehicles() []api.Vehicle {
	v, _ := r.Vehicle("car1")
	list := []api.Vehicle{v}
	for i := range r.more {
		list = append(list, api.Vehicle{ID: fmt.Sprintf("car2%03d", i), Devices: []api.Device{}})
	}
	return list
}

func (r *rooms) Vehicle(vid string) (api.Vehicle, bool) {
	return api.Vehicle{ID: vid, State: "ACTIVE", Devices: []api.Device{{ID: "tcu", Presence: "online"}}}, vid == "car1"
}

func (r *rooms) SetActive(_ context.Context, vid string, active bool) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active[vid] = active
	return vid == "car1", r.broken
}

func (r *rooms) DeleteVehicle(_ context.Context, vid string) (bool, error) {
	return vid == "car1", r.broken
}

func (r *rooms) State(vid string) ([]api.Signal, bool) {
	return []api.Signal{
		{Bus: "can0", Message: "M", Name: "SPEED", Value: 50}, {Bus: "can0", Message: "M", Name: "GEAR", Value: api.Number(math.NaN())},
	}, vid == "car1"
}

func (r *rooms) History(vid, bus, message, signal string) ([]api.Point, bool) {
	var list []api.Point
	for i := range 10 {
		list = append(list, api.Point{Time: time.Date(2026, 1, 1, 0, 0, i, 500e6, time.UTC), Value: api.Number(i)})
	}
	return list, vid == "car1" && bus == "can0" && message == "M" && signal == "SPEED"
}

func (r *rooms) Ledger(string) []api.Boot { return []api.Boot{{Device: "tcu", Stored: 7}} }

func (r *rooms) DeadLetters(_ context.Context, limit int) ([]api.DeadLetter, error) {
	return make([]api.DeadLetter, min(limit, 3)), r.broken
}

func (r *rooms) Replay(_ context.Context, reason string) (int, error) { return len(reason), r.broken }

func (r *rooms) ListCampaigns() []api.Campaign {
	return []api.Campaign{{ID: "c", Revision: 3, State: "ACTIVE"}}
}

func (r *rooms) Campaign(id string) (api.CampaignDocument, bool) {
	return api.CampaignDocument{Campaign: r.ListCampaigns()[0], Document: "kind: Campaign\n"}, id == "c"
}

func (r *rooms) PushCampaign(_ context.Context, id string, doc []byte) (api.Campaign, error) {
	if r.broken == nil && string(doc) != "good" {
		return api.Campaign{}, &api.Refusal{Status: http.StatusConflict, Detail: "STALE_REVISION: 3 runs"}
	}
	return r.ListCampaigns()[0], r.broken
}

func (r *rooms) RemoveCampaign(_ context.Context, id string) (bool, error) {
	return id == "c", r.broken
}

// stage is a running server.
type stage struct {
	*api.Server
	*rooms
	t       *testing.T
	live    *api.Live
	healthy bool
	log     *bytes.Buffer
	client  *http.Client
	stop    func()
}

func start(t *testing.T) *stage { return startFor(t) }

// startFor lets web pages of origins use the API.
func startFor(t *testing.T, origins ...string) *stage {
	t.Helper()
	s := &stage{rooms: &rooms{active: map[string]bool{}}, t: t, live: api.NewLive(), healthy: true, log: &bytes.Buffer{}}
	var err error
	s.Server, err = api.New(api.Config{
		Listen: "127.0.0.1:0", Version: "test", Vehicles: s.rooms, States: s.rooms, Deliveries: s.rooms, Live: s.live,
		Campaigns: s.rooms,
		Schema: func(_ context.Context, id string) ([]byte, error) {
			if id != "00112233445566ff" {
				return nil, s.broken
			}
			return []byte{0xa0}, nil
		},
		Health: func(context.Context) api.Health { return api.Health{OK: s.healthy} },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "telltale_up 1\n")
		}),
		Origins: origins, Log: slog.New(slog.NewTextHandler(s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	transport := &http.Transport{}
	s.client = &http.Client{Transport: transport}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		transport.CloseIdleConnections()
	})
	t.Cleanup(s.stop)
	return s
}

// ask gives the answer with its body read.
func (s *stage) ask(method, path string, change func(*http.Request)) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.Addr().String()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

func TestRoutes(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		method, path string
		status       int
		has          string
	}{
		{"GET", "/v1/vehicles", 200, `"vid":"car1"`},
		{"GET", "/v1/vehicles/car1", 200, `"state":"ACTIVE"`},
		{"GET", "/v1/vehicles/x", 404, "no vehicle"},
		{"GET", "/v1/vehicles/" + strings.Repeat("x", 65), 422, "length"},
		{"GET", "/v1/vehicles/car1/presence", 200, `"presence":"online"`},
		{"GET", "/v1/vehicles/x/presence", 404, "no vehicle"},
		{"GET", "/v1/vehicles/car1/state", 200, `"signal":"GEAR"`},
		{"GET", "/v1/vehicles/car1/state?signal=GE*", 200, `"value":null`},
		{"GET", "/v1/vehicles/car1/state?signal=none", 200, "[]"},
		{"GET", "/v1/vehicles/car1/state?signal=[", 400, "glob"},
		{"GET", "/v1/vehicles/x/state", 404, "no vehicle"},
		{"GET", "/v1/vehicles/car1/history?bus=can0&message=M&signal=SPEED", 200, `"value":1`},
		{"GET", "/v1/vehicles/car1/history?bus=can0&message=M&signal=no", 404, "no such"},
		{"GET", "/v1/vehicles/car1/history?bus=can0", 422, "required"},
		{"GET", "/v1/vehicles/car1/ledger", 200, `"stored":7`},
		{"GET", "/v1/vehicles/x/ledger", 404, "no vehicle"},
		{"GET", "/v1/vehicles/x/events", 404, "no vehicle"},
		{"POST", "/v1/vehicles/car1/suspend", 204, ""},
		{"POST", "/v1/vehicles/x/suspend", 404, "no vehicle"},
		{"POST", "/v1/vehicles/x/activate", 404, "no vehicle"},
		{"DELETE", "/v1/vehicles/car1", 400, "confirm"},
		{"DELETE", "/v1/vehicles/car1?confirm=car2", 400, "confirm"},
		{"DELETE", "/v1/vehicles/x?confirm=x", 404, "no vehicle"},
		{"DELETE", "/v1/vehicles/car1?confirm=car1", 200, "rows in the lake"},
		{"GET", "/v1/dead-letters?limit=2", 200, "[{"},
		{"GET", "/v1/dead-letters?limit=0", 422, "limit"},
		{"POST", "/v1/dead-letters/replay?reason=four", 200, `"replayed":4`},
		{"GET", "/v1/campaigns", 200, `"revision":3`},
		{"GET", "/v1/schemas/00112233445566ff", 200, "\xa0"},
		{"GET", "/v1/schemas/00112233445566fe", 404, "no schema"},
		{"GET", "/v1/schemas/short", 422, "pattern"},
		{"GET", "/v1/health", 200, `"ok":true`},
		{"GET", "/metrics", 200, "telltale_up 1"},
		{"GET", "/openapi.yaml", 200, "openapi: 3"},
		{"GET", "/openapi.json", 200, `"openapi":"3`},
		{"GET", "/", 404, "no such route"},
		{"GET", "/v1/vehicles/", 404, ""},
		{"DELETE", "/v1/vehicles", 405, "another method"},
		{"GET", "/v1/vehicles/car1/suspend", 405, "another method"},
	} {
		resp, body := s.ask(c.method, c.path, nil)
		if resp.StatusCode != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%s %s: got %d %s, want %d with %q", c.method, c.path, resp.StatusCode, body, c.status, c.has)
		}
		if c.status >= 400 {
			checkProblem(t, c.path, resp, body)
		}
	}
	if got := s.active; len(got) != 2 || got["car1"] || !got["x"] {
		t.Errorf("got %v asked for, want car1 suspended last", got)
	}
}

// TestUnknownQueries: no route passes over a parameter that it does not know, or a second one.
func TestUnknownQueries(t *testing.T) {
	s := start(t)
	for _, pattern := range api.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{vid}", "car1", "{id}", "00112233445566ff", "{file}", strings.Repeat("0", 64)).Replace(path)
		for query, says := range map[string]string{"nonsense=1": `"nonsense\"`, "Signal=1": `"Signal\"`, "a%zz": "percent-encoded", "a;b": "percent-encoded"} {
			resp, body := s.ask(method, path+"?"+query, nil)
			if resp.StatusCode != 400 || !strings.Contains(body, says) {
				t.Errorf("%s?%s: got %d %s, want 400 that names it", pattern, query, resp.StatusCode, body)
			}
			checkProblem(t, pattern, resp, body)
		}
	}
	if resp, body := s.ask("GET", "/v1/dead-letters?limit=1&limit=2", nil); resp.StatusCode != 400 || !strings.Contains(body, "limit: expected once") {
		t.Errorf("got %d %s, want 400", resp.StatusCode, body)
	}
}

// checkProblem: errors are problem+json (RFC 9457).
func checkProblem(t *testing.T, path string, resp *http.Response, body string) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s: got %s, want application/problem+json", path, got)
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != resp.StatusCode || p.Title == "" || p.Detail == "" {
		t.Errorf("%s: got %s, want title, status and detail", path, body)
	}
}

// TestBrokenStorage: the answer says what did not work, the log why.
func TestBrokenStorage(t *testing.T) {
	s := start(t)
	s.broken, s.healthy = errors.New("secret cause"), false
	for _, c := range []struct{ method, path string }{
		{"GET", "/v1/dead-letters"}, {"POST", "/v1/dead-letters/replay"}, {"GET", "/v1/schemas/00112233445566fe"},
		{"POST", "/v1/vehicles/car1/suspend"},
	} {
		resp, body := s.ask(c.method, c.path, nil)
		if resp.StatusCode != 503 || strings.Contains(body, "secret") {
			t.Errorf("%s: got %d %s, want 503 without the cause", c.path, resp.StatusCode, body)
		}
		checkProblem(t, c.path, resp, body)
	}
	if resp, body := s.ask("GET", "/v1/health", nil); resp.StatusCode != 503 || !strings.Contains(body, `"ok":false`) {
		t.Errorf("health: got %d %s, want 503", resp.StatusCode, body)
	}
	s.stop()
	if n := strings.Count(s.log.String(), "secret cause"); n != 4 {
		t.Errorf("got the cause %d times in the log, want 4", n)
	}
}

// TestWebPagesAreRefused: neither a foreign host name nor a page of another origin gets through.
func TestWebPagesAreRefused(t *testing.T) {
	s := start(t)
	for name, change := range map[string]func(*http.Request){
		"host":   func(r *http.Request) { r.Host = "evil.example:80" },
		"origin": func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		"site":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
	} {
		resp, body := s.ask("POST", "/v1/vehicles/car1/suspend", change)
		if resp.StatusCode != 403 {
			t.Errorf("%s: got %d, want 403", name, resp.StatusCode)
		}
		checkProblem(t, name, resp, body)
	}
	for _, host := range []string{"localhost", "localhost:80", "127.0.0.1:1", "[::1]:80", "[::1]"} {
		if resp, _ := s.ask("POST", "/v1/vehicles/car1/activate", func(r *http.Request) { r.Host = host }); resp.StatusCode != 204 {
			t.Errorf("%s: got %d, want 204", host, resp.StatusCode)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	s := start(t)
	for address, says := range map[string]string{
		"localhost": "host:port", "0.0.0.0:0": "loopback", ":0": "loopback", "192.0.2.1:80": "loopback", "example.com:80": "loopback",
		s.Addr().String(): "in use",
	} {
		if _, err := api.New(api.Config{Listen: address, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", address, err, says)
		}
	}
}

// TestDescription: every route is in the description. Package cloud compares the committed file.
func TestDescription(t *testing.T) {
	got, err := api.OpenAPI(api.Extensions{})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `yaml:"operationId"`
			Summary     string
			Parameters  []struct{ Name, In string }
			Responses   map[string]any
		}
	}
	if err := yaml.Unmarshal(got, &doc); err != nil {
		t.Fatal(err)
	}
	patterns := api.Patterns()
	if len(patterns) < 15 {
		t.Errorf("got %d routes, want all of them", len(patterns))
	}
	for _, pattern := range patterns {
		method, path, _ := strings.Cut(pattern, " ")
		op, ok := doc.Paths[path][strings.ToLower(method)]
		if !ok || op.OperationID == "" || op.Summary == "" || len(op.Responses) == 0 {
			t.Errorf("%s: got %+v in the description, want id, summary and responses", pattern, op)
		}
		if in := strings.Count(path, "{"); in > 0 && (len(op.Parameters) < in || op.Parameters[0].In != "path") {
			t.Errorf("%s: got parameters %+v, want that of the path", pattern, op.Parameters)
		}
	}
}

// TestCreepingUpload: who sends a byte now and then does not hold its place, who sends at a fair speed does.
func TestCreepingUpload(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	for name, test := range map[string]struct {
		after time.Duration
		bytes int64
		want  time.Duration // after began
	}{
		"at the start":     {0, 0, 30 * time.Second},
		"nothing for 29s":  {29 * time.Second, 0, 30 * time.Second},
		"a byte now":       {29 * time.Second, 1, 30 * time.Second},
		"an hour creeping": {time.Hour, 3600 << 10, 58 * time.Second},
		"a fair speed":     {time.Minute, 60 << 20, time.Minute + 30*time.Second},
		"a huge file":      {time.Hour, 1 << 40, time.Hour + 30*time.Second},
	} {
		if got := api.UploadDeadline(began, began.Add(test.after), test.bytes).Sub(began); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
