// Package local answers questions about the agent that runs: HTTP on a Unix socket in its data folder, for its own
// user and root alone. GET /status gives the agent's own account as JSON.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"telltale.dev/hal/durable"
)

const (
	// socket is the name of the socket in the data folder.
	socket = "agent.sock"
	// answerWithin bounds the time of a question with its answer.
	answerWithin = 5 * time.Second
	// maxAnswer bounds what Status reads, in bytes.
	maxAnswer = 16 << 20
)

// ErrNotRunning is the error of Status when no agent runs with the data folder.
var ErrNotRunning = errors.New("no agent runs with this data folder")

// Serve answers with what status gives until ctx ends. The folder must be the caller's: it replaces a socket that a
// killed agent has left. When it cannot listen it logs why, and nobody can ask. The number of questions at a time has no bound:
// who may ask may also end the agent.
func Serve(ctx context.Context, dir string, status func() any, log *slog.Logger) {
	ln, err := listen(dir)
	if err != nil {
		log.Warn("nobody can ask for the status", "error", bare(err))
		return
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status())
	})
	server := &http.Server{Handler: routes, ReadTimeout: answerWithin, WriteTimeout: answerWithin, MaxHeaderBytes: 4 << 10}
	server.SetKeepAlivesEnabled(false)
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(ln); ctx.Err() == nil {
		log.Warn("nobody can ask for the status", "error", bare(err))
	}
}

func listen(dir string) (net.Listener, error) {
	path, release, err := short(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	// Whoever comes next replaces the file: by then the short path may lead elsewhere.
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	return ln, nil
}

// Status asks the agent that runs with the data folder, and reads its account into a value.
func Status(ctx context.Context, dir string, into any) error {
	path, release, err := short(dir)
	if err != nil {
		return bare(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", http.NoBody)
	if err != nil {
		return err
	}
	res, err := transport.RoundTrip(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED): // the socket of a killed agent stays
		return ErrNotRunning
	case err != nil:
		return fmt.Errorf("the agent does not answer: %w", bare(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent answers %s", res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("the agent's answer: %w", err)
	}
	return nil
}

// maxPath is how long the path of a socket may be, in bytes (unix(7): 108 on Linux, 104 elsewhere).
const maxPath = 100

// short gives a path of the socket that is short enough until release is called.
func short(dir string) (path string, release func(), err error) {
	path = filepath.Join(dir, socket)
	if len(path) <= maxPath {
		return path, func() {}, nil
	}
	folder, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(folder.Fd())), socket), func() { folder.Close() }, nil
}

// bare leaves the path out of an error.
func bare(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call
	}
	return durable.Bare(err)
}
