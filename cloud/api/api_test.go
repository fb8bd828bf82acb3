package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rooms has routes as rooms bring them, with one vehicle "car1".
type rooms struct {
	mu     sync.Mutex // guards active
	active map[string]bool
	broken error // what the storage says
	more   int   // further vehicles
	log    *slog.Logger
}

type vehicle struct {
	ID string `json:"vid"`
}

type signalsInput struct {
	backbone.VehiclePath
	backbone.Page
	Signal []string `query:"signal,explode"`
}

func (r *rooms) Routes(api huma.API) {
	huma.Get(api, "/v1/vehicles", func(_ context.Context, in *backbone.Page) (*backbone.Paged[vehicle], error) {
		list := []vehicle{{"car1"}}
		for i := range r.more {
			list = append(list, vehicle{fmt.Sprintf("car2%03d", i)})
		}
		return backbone.Cut(list, func(v vehicle) string { return v.ID }, *in, "/v1/vehicles", nil)
	}, backbone.About("list", "All", http.StatusBadRequest))
	huma.Get(api, "/v1/vehicles/{vid}", func(_ context.Context, in *backbone.VehiclePath) (*backbone.Answer[vehicle], error) {
		if in.VID != "car1" {
			return nil, backbone.NoVehicle()
		}
		return &backbone.Answer[vehicle]{Body: vehicle{in.VID}}, nil
	}, backbone.About("get", "One", http.StatusNotFound))
	huma.Get(api, "/v1/vehicles/{vid}/signals", func(_ context.Context, in *signalsInput) (*backbone.Paged[string], error) {
		return backbone.Cut([]string{"GEAR", "SPEED"}, func(s string) string { return s }, in.Page, backbone.VehicleRoute(in.VID, "signals"), url.Values{"signal": in.Signal})
	}, backbone.About("signals", "Theirs", http.StatusBadRequest))
	for word, active := range map[string]bool{"suspend": false, "activate": true} {
		huma.Post(api, "/v1/vehicles/{vid}/"+word, func(_ context.Context, in *backbone.VehiclePath) (*struct{}, error) {
			if r.broken != nil {
				return nil, backbone.Failed(r.log, "vehicle not changed", r.broken)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.active[in.VID] = active
			return nil, nil
		}, backbone.About(word, word, http.StatusServiceUnavailable))
	}
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
	s.rooms.log = slog.New(slog.NewTextHandler(s.log, nil))
	s.Server, err = api.New(api.Config{
		Listen: "127.0.0.1:0", Version: "test", Live: s.live, Extensions: api.Extensions{Routes: []func(huma.API){s.Routes}},
		Presences: func(vid string) ([]api.PresenceEvent, bool) {
			return []api.PresenceEvent{{Device: "tcu", Presence: "online"}}, vid == "car1"
		},
		Health: func(context.Context) api.Health { return api.Health{OK: s.healthy} },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "telltale_up 1\n")
		}),
		Origins: origins, Log: s.rooms.log,
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
		{"GET", "/v1/vehicles/car1", 200, `"vid":"car1"`},
		{"GET", "/v1/vehicles/x", 404, "no vehicle"},
		{"GET", "/v1/vehicles/" + strings.Repeat("x", 65), 422, "length"},
		{"GET", "/v1/vehicles/x/events", 404, "no vehicle"},
		{"GET", "/v1/vehicles/car1/events?signal=[", 400, "glob"},
		{"POST", "/v1/vehicles/car1/suspend", 204, ""},
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
	if active, asked := s.active["car1"]; active || !asked {
		t.Error("got no suspension, want one")
	}
}

// TestUnknownQueries: no route passes over a parameter that it does not know, or a second one.
func TestUnknownQueries(t *testing.T) {
	s := start(t)
	for _, pattern := range api.Patterns((&rooms{}).Routes) {
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
	if resp, body := s.ask("GET", "/v1/vehicles?limit=1&limit=2", nil); resp.StatusCode != 400 || !strings.Contains(body, "limit: expected once") {
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
		{"POST", "/v1/vehicles/car1/activate"}, {"POST", "/v1/vehicles/car1/suspend"},
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
	if n := strings.Count(s.log.String(), "secret cause"); n != 2 {
		t.Errorf("got the cause %d times in the log, want 2", n)
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
	got, err := api.OpenAPI(api.Extensions{Routes: []func(huma.API){(&rooms{}).Routes}})
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
	patterns := api.Patterns((&rooms{}).Routes)
	if len(patterns) < 10 {
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
