package virtual

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"telltale.dev/protocol/can"
)

// Config of a Hub.
type Config struct {
	// Buses exist from the start; Hub.Bus adds more. A reader of a bus that does not exist is refused.
	Buses []string
	// RingFrames is how many frames a reader may lag behind. 0 means DefaultRingFrames.
	RingFrames int
	// OnAttach and OnDetach tell of each reader, from its own goroutine: OnAttach before
	// the reader is welcomed, OnDetach when the hub has noticed that it is gone. Both may be nil.
	OnAttach, OnDetach func(Attachment)
	// Tap, when set, is given every frame of every bus, whoever sent it, in the order of its
	// bus. It holds up that bus: it must be quick, must not keep the slice and must not call the hub.
	Tap func(bus string, first uint64, frames []can.Frame)
	// Log may be nil.
	Log *slog.Logger
}

// Hub owns the buses of one address. Its methods may be called by any goroutine.
type Hub struct {
	cfg      Config
	address  Address
	listener net.Listener

	mu      sync.Mutex // guards all below
	wires   []*Wire
	conns   map[net.Conn]struct{}
	history []*reader
	lastID  uint64
	closed  bool
}

// Listen takes an address: the path of a unix socket (with a slash in it),
// IP:PORT on loopback (port 0: any), or a virtual URL of either. Readers are
// served once Run runs. A socket file that nobody listens on is replaced.
func Listen(address string, cfg Config) (*Hub, error) {
	if cfg.RingFrames == 0 {
		cfg.RingFrames = DefaultRingFrames
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.RingFrames < 1 {
		return nil, fmt.Errorf("virtual bus: a ring of %d frames, want at least 1", cfg.RingFrames)
	}
	a, err := listenAddress(address)
	if err != nil {
		return nil, fmt.Errorf("virtual bus: %w", err)
	}
	h := &Hub{cfg: cfg, address: a, conns: map[net.Conn]struct{}{}}
	for _, name := range cfg.Buses {
		if name == "" || checkName("bus", name) != nil {
			return nil, fmt.Errorf("virtual bus: %q is no name for a bus", name)
		}
		h.Bus(name)
	}
	if h.listener, err = listen(a); err != nil {
		return nil, fmt.Errorf("virtual bus: listen on %s: %w", a.short(), reason(err))
	}
	if a.Network == "tcp" {
		h.address.Host = h.listener.Addr().String()
	}
	return h, nil
}

func listen(a Address) (net.Listener, error) {
	l, err := net.Listen(a.Network, a.Host)
	if a.Network != "unix" {
		return l, err
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		conn, dialErr := net.Dial("unix", a.Host)
		if dialErr == nil {
			conn.Close()
			return nil, err
		}
		if info, statErr := os.Lstat(a.Host); statErr != nil || info.Mode()&os.ModeSocket == 0 {
			return nil, errors.New("a file is in the way that is no socket")
		}
		if removeErr := os.Remove(a.Host); removeErr != nil {
			return nil, reason(removeErr)
		}
		l, err = net.Listen("unix", a.Host)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(a.Host, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// reason strips operation and path from an error of the system, so that no folder of the machine shows.
func reason(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// Bus gives the bus of that name, which is made when it does not exist yet.
func (h *Hub) Bus(name string) *Wire {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.wires {
		if w.name == name {
			return w
		}
	}
	w := newWire(name, h.cfg.RingFrames, h.cfg.Tap)
	h.wires = append(h.wires, w)
	return w
}

// find gives the bus of that name or says which there are.
func (h *Hub) find(name string) (*Wire, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, w := range h.wires {
		if w.name == name {
			return w, nil
		}
		names = append(names, w.name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no bus %q, nor any other", name)
	}
	return nil, fmt.Errorf("there is no bus %q; there are %s", name, strings.Join(names, ", "))
}

// URL gives what Dial needs to attach to a bus.
func (h *Hub) URL(bus string) string {
	a := h.address
	a.Bus = bus
	return a.URL()
}

// Attachments gives a snapshot of every reader that is or was attached, in the order of their IDs.
func (h *Hub) Attachments() []Attachment {
	h.mu.Lock()
	readers := slices.Clone(h.history)
	h.mu.Unlock()
	all := make([]Attachment, len(readers))
	for i, r := range readers {
		all[i] = r.attachment()
	}
	return all
}

// Drain waits until every reader has been handed every frame on its bus (it
// may still have to read them from its socket), or until ctx ends.
func (h *Hub) Drain(ctx context.Context) error {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		h.mu.Lock()
		wires := slices.Clone(h.wires)
		h.mu.Unlock()
		if !slices.ContainsFunc(wires, func(w *Wire) bool { return !w.drained() }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Run serves readers until ctx ends or Close is called, and returns nil when all of them are gone.
func (h *Hub) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { h.Close() })
	defer stop()
	var readers sync.WaitGroup
	defer readers.Wait()
	for {
		conn, err := h.listener.Accept()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // such as too many open files: it may pass
			h.cfg.Log.Warn("virtual bus cannot accept a reader", "error", err)
			time.Sleep(retryDelay)
			continue
		}
		if err := h.admit(conn); err != nil {
			conn.SetWriteDeadline(time.Now().Add(retryDelay))
			conn.Write(appendRefusal(nil, err.Error()))
			conn.Close()
			continue
		}
		readers.Go(func() {
			defer h.release(conn)
			h.serve(conn)
		})
	}
}

// admit notes an open connection.
func (h *Hub) admit(conn net.Conn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.conns) >= maxReaders {
		return fmt.Errorf("the hub is closed or has its %d readers", maxReaders)
	}
	h.conns[conn] = struct{}{}
	return nil
}

func (h *Hub) release(conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, conn)
	conn.Close()
}

// Close hangs up on every reader; their Receive gives io.EOF behind the frames
// that are on their way. It does not wait; Run does. It may be called twice.
func (h *Hub) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	err := h.listener.Close()
	for conn := range h.conns {
		conn.Close()
	}
	return err
}

// serve talks to one process until it is gone.
func (h *Hub) serve(conn net.Conn) {
	r, err := h.welcome(conn)
	if err != nil {
		h.cfg.Log.Warn("virtual bus refuses a reader", "error", err)
		conn.SetWriteDeadline(time.Now().Add(farewellTimeout))
		conn.Write(appendRefusal(nil, err.Error()))
		linger(conn)
		return
	}
	go r.write(conn)
	err = r.read(conn)
	failure := ""
	if !gone(err) && !errors.Is(err, io.ErrUnexpectedEOF) { // killed in the middle of a message: also gone
		failure = err.Error()
		conn.SetWriteDeadline(time.Now().Add(farewellTimeout))
		h.cfg.Log.Warn("virtual bus hangs up on a reader", "bus", r.wire.name, "reader", r.name, "pid", r.pid, "error", err)
	}
	r.wire.detach(r, failure)
	if failure == "" {
		conn.Close()
	}
	<-r.finished
	if failure != "" {
		linger(conn)
	}
	a := r.attachment()
	h.cfg.Log.Debug("virtual bus lost a reader", "bus", a.Bus, "reader", a.Name, "pid", a.PID, "handed", a.Next-a.First)
	if h.cfg.OnDetach != nil {
		h.cfg.OnDetach(a)
	}
}

// gone says whether err is the ordinary end of a connection.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// linger lets the other end read our last words before the connection goes.
func linger(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
	conn.SetReadDeadline(time.Now().Add(farewellTimeout))
	io.Copy(io.Discard, io.LimitReader(conn, farewellBytes))
}

// welcome reads hello, attaches the process to its bus and says so.
func (h *Hub) welcome(conn net.Conn) (*reader, error) {
	conn.SetDeadline(time.Now().Add(helloTimeout))
	hi, err := readHello(conn)
	if err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	wire, err := h.find(hi.bus)
	if err != nil {
		return nil, err
	}
	r := &reader{wire: wire, pid: int(hi.pid), name: hi.name, finished: make(chan struct{})}
	h.remember(r)
	wire.attach(r)
	a := r.attachment()
	h.cfg.Log.Debug("virtual bus has a reader", "bus", a.Bus, "reader", a.Name, "pid", a.PID, "first", a.First)
	if h.cfg.OnAttach != nil {
		h.cfg.OnAttach(a)
	}
	// An error here shows again in read, so that what was attached is detached in one place.
	conn.Write(appendWelcome(nil, a.First))
	conn.SetDeadline(time.Time{})
	buffers(conn)
	return r, nil
}

// remember numbers r and keeps it in the history.
func (h *Hub) remember(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastID++
	r.id = h.lastID
	if len(h.history) >= maxHistory {
		h.history = h.history[1:]
	}
	h.history = append(h.history, r)
}

// buffers asks for socket buffers that hold some batches; less works too.
func buffers(conn net.Conn) {
	if c, ok := conn.(*net.UnixConn); ok {
		c.SetReadBuffer(socketBuffer)
		c.SetWriteBuffer(socketBuffer)
	}
}
