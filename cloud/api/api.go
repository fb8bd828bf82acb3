// Package api is the HTTP interface of the cloud: vehicles, presence, state,
// history, ledger, live events, campaigns, health, metrics and its own OpenAPI
// description. Errors are problem+json (RFC 9457).
//
// It holds no data; the rooms that do are handed in as small interfaces. There
// is no authentication yet, so it listens on loopback only.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Vehicles answers what is registered and connected.
type Vehicles interface {
	Vehicles() []Vehicle
	Vehicle(vid string) (Vehicle, bool)
	// SetActive suspends or re-activates a vehicle; false when there is none.
	SetActive(ctx context.Context, vid string, active bool) (known bool, err error)
}

// States answers what is known of a vehicle's signals; false when the vehicle or signal is unknown.
type States interface {
	State(vid string) ([]Signal, bool)
	History(vid, bus, message, signal string) ([]Point, bool)
}

// Deliveries answers what arrived, and what could not be decoded.
type Deliveries interface {
	Ledger(vid string) []Boot
	DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error)
	// Replay feeds dead letters in again and says how many.
	Replay(ctx context.Context, reason string) (int, error)
}

// Config of a Server. Every field is required.
type Config struct {
	Listen     string // loopback host:port
	Version    string
	Vehicles   Vehicles
	States     States
	Deliveries Deliveries
	Campaigns  func() []Campaign
	// Schema gives a schema document by the 16 hexadecimal digits that batches carry; nil when there is none.
	Schema  func(ctx context.Context, id string) ([]byte, error)
	Live    *Live
	Health  func() Health
	Metrics http.Handler
	Log     *slog.Logger
}

// Server serves the API.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
}

// Time-outs of a connection; answers are streamed on the events route only, which has no write time-out.
const (
	readTimeout     = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 2 * time.Second
)

// New listens. The error names the port when it is taken, and refuses an address that is not loopback.
func New(cfg Config) (*Server, error) {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("http address: expected host:port: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("http address: expected a loopback address: the API has no authentication yet")
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	s := &Server{cfg: cfg, listener: listener}
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: readTimeout, IdleTimeout: idleTimeout}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, then ends the streams and waits for the others.
func (s *Server) Run(ctx context.Context) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(stop); err != nil {
		s.http.Close()
	}
	<-failed
	return nil
}

// handler joins the routes.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.cfg.Metrics)
	s.routes(Describe(mux, s.cfg.Version))
	return mux
}

// Describe makes the huma API on mux; OpenAPI is served at /openapi.json and /openapi.yaml.
func Describe(mux *http.ServeMux, version string) huma.API {
	config := huma.DefaultConfig("Telltale", version)
	config.DocsPath = "" // the viewer would be loaded from another host
	config.CreateHooks = nil
	return humago.New(mux, config)
}

// OpenAPI gives the description of all routes as YAML.
func OpenAPI(version string) ([]byte, error) {
	mux := http.NewServeMux()
	api := Describe(mux, version)
	(&Server{}).routes(api)
	return api.OpenAPI().YAML()
}
