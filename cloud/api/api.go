// Package api is the HTTP interface of the cloud: it serves the routes that the rooms
// bring, and of its own live events, health, metrics and the OpenAPI description of
// all routes. Errors are problem+json (RFC 9457).
//
// It holds no data but the live events that somebody watches. There
// is no authentication yet, so it listens on loopback only, and refuses what a
// web page that the machine's user visits could send (see foreign.go).
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

//go:generate go run telltale.dev/cloud/cmd/telltale-cloud openapi --out openapi.yaml

// Extensions are what the rooms bring to the API themselves.
type Extensions struct {
	Routes []func(huma.API)
	Events []map[string]any // live events: kind → a value of its type
}

// Config of a Server. Every field is required, but those of Extensions.
type Config struct {
	Listen string // loopback host:port
	// Gate bounds the connections of the server that serves the listener; nil: nothing does.
	Gate    func(*http.Server, net.Listener) net.Listener
	Version string // of the program
	// Presences gives the presence of each device of a vehicle; false when there is no such vehicle.
	Presences  func(vid string) (list []PresenceEvent, known bool)
	Live       *Live
	Extensions Extensions
	Health     func(context.Context) Health
	Metrics    http.Handler
	// Origins are those whose web pages may use the API, such as https://ops.example (CORS); none by default.
	Origins []string
	Log     *slog.Logger
}

// Server serves the API.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
}

// Time-outs of a connection. An answer has none: events are streamed, each with a time-out of its own.
const (
	readTimeout     = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
)

// maxHeader bounds the headers of a request, in bytes.
const maxHeader = 16 << 10

// New listens. The error names the port when it is taken, and refuses an address
// that is not loopback. Run or Close must be called afterwards.
func New(cfg Config) (*Server, error) {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("http address: expected host:port: %w", err)
	}
	if !loopback(host) {
		return nil, errors.New("http address: expected a loopback address: the API has no authentication yet")
	}
	if err := checkOrigins(cfg.Origins); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	s := &Server{cfg: cfg, listener: listener}
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: readTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	if cfg.Gate != nil {
		s.listener = cfg.Gate(s.http, listener)
	}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives the port back when Run is not going to be called.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx ends, then ends the streams of events and waits for the other answers.
func (s *Server) Run(ctx context.Context) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("http: %w", err), s.http.Close())
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(stop)
	if err != nil {
		s.cfg.Log.Warn("http answers are cut off", "err", err)
		_ = s.http.Close()
	}
	<-failed
	return nil
}

// handler joins the routes.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	described := s.describe(mux)
	return refuseForeign(s.cfg.Origins, permit(anybody, shrink(problems(mux, queriesOf(described.OpenAPI())))))
}

// apiVersion is the version of the interface, not of the program.
const apiVersion = "1"

// describe puts all routes on mux.
func (s *Server) describe(mux humago.Mux) huma.API {
	config := huma.DefaultConfig("Telltale", apiVersion)
	config.Info.Description = "What the vehicle cloud knows. It has no authentication yet and listens on loopback only."
	// The viewer would be loaded from another host; the description has routes of its own in plain.go.
	config.DocsPath, config.OpenAPIPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	api := humago.New(mux, config)
	s.eventRoutes(api)
	s.healthRoute(api)
	for _, routes := range s.cfg.Extensions.Routes {
		routes(api)
	}
	s.plainRoutes(mux, api)
	return api
}

// OpenAPI gives the description of all routes as YAML.
func OpenAPI(x Extensions) ([]byte, error) {
	return (&Server{cfg: Config{Extensions: x}}).describe(http.NewServeMux()).OpenAPI().YAML()
}
