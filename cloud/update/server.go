package update

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
	"telltale.dev/protocol/updates"
)

// Bounds of the download server; those of what it sends are in transfer.go.
const (
	headerWait = 10 * time.Second
	idleWait   = time.Minute
	stopWait   = 2 * time.Second // a download that is cut off goes on after the restart
	maxHeader  = 8 << 10         // bytes of a request's headers
)

// ServerConfig of a Server. Every field without a zero value of its own is required.
type ServerConfig struct {
	Listen string // host:port
	// Gate bounds the connections of the server that serves the listener; nil: nothing does.
	Gate    func(*http.Server, net.Listener) net.Listener
	TLS     *tls.Config
	Updates *Updates
	// Identify reads from a verified certificate who its holder is. What devices may have, and nobody
	// else, the access table says.
	Identify func(*x509.Certificate) (principal.Principal, error)
	// Active says why a device may not take part now.
	Active func(protocol.VehicleID, protocol.DeviceID) error
	// BlockWait is how long a device may take for 16 KiB; zero means 15 s.
	BlockWait time.Duration
	Log       *slog.Logger
}

// Server gives update files to devices over mTLS: to each only the file of an
// update that is addressed to it and under way.
type Server struct {
	cfg       ServerConfig
	listener  net.Listener
	http      *http.Server
	transfers transfers
}

// NewServer listens. Run or Close must be called afterwards.
func NewServer(cfg ServerConfig) (*Server, error) {
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, err
	}
	if cfg.BlockWait <= 0 {
		cfg.BlockWait = defaultBlockWait
	}
	s := &Server{cfg: cfg}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+updates.DownloadPrefix+"{hash}", s.serve)
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: headerWait, IdleTimeout: idleWait, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), // handshakes of strangers
	}
	if cfg.Gate != nil {
		listener = cfg.Gate(s.http, listener)
	}
	config := cfg.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	s.listener = tls.NewListener(listener, config)
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives the port back when Run is not going to be called.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("download: %w", err), s.http.Close())
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	if s.http.Shutdown(stop) != nil {
		_ = s.http.Close()
	}
	<-failed
	return nil
}

// serve gives one file, or the part of it that is asked for.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	hash, err := updates.ParseFileHash(r.PathValue("hash"))
	if err != nil {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	who, err := s.permit(r, hash)
	if err != nil {
		s.cfg.Updates.stats.refusedDownloads.Add(1)
		s.cfg.Log.Warn("download refused", "err", err)
		http.Error(w, "not for this device, or not now", http.StatusForbidden)
		return
	}
	t := &transfer{ResponseWriter: w, control: http.NewResponseController(w), wait: s.cfg.BlockWait, sent: &s.cfg.Updates.stats.bytes}
	if !s.transfers.begin(who, t) {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many downloads at once", http.StatusServiceUnavailable)
		return
	}
	defer s.transfers.end(who, t)
	file, err := os.Open(s.cfg.Updates.path(hash))
	if err != nil {
		s.cfg.Log.Error("update file cannot be read", "err", plain(err))
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	defer file.Close()
	s.cfg.Updates.stats.downloads.Add(1)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+hash.String()+`"`)
	http.ServeContent(t, r, "", time.Time{}, file)
}

// permit says who asks, or why the file is not for it.
func (s *Server) permit(r *http.Request, hash updates.FileHash) (who principal.Principal, err error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return who, errors.New("no client certificate")
	}
	who, err = s.cfg.Identify(r.TLS.PeerCertificates[0])
	if err != nil {
		return who, err
	}
	if rule := access.Decide(who, access.Download, r.URL.Path); !rule.Allowed() {
		return who, errors.New(rule.Reason())
	}
	if err := s.cfg.Active(who.Vehicle, who.Device); err != nil {
		return who, err
	}
	e := s.cfg.Updates.record(who.Vehicle).Execution
	if e == nil || e.Device != who.Device || e.File.Hash != hash || e.State.Ended() && e.State != updates.TimedOut {
		return who, errors.New("no update with this file is under way for this device")
	}
	who.Certificate = principal.Certificate{}
	return who, nil
}
