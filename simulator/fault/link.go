// Package fault makes the world go wrong on purpose: a mobile link that is
// slow, cut or half-open, as a TCP proxy between a vehicle and its cloud.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Profile shapes a link that is up. The zero Profile passes bytes on at once.
type Profile struct {
	Delay time.Duration // one way
	Up    int64         // bytes per second from the vehicle, 0: unlimited
	Down  int64         // bytes per second to the vehicle, 0: unlimited
}

// State is what a link does with bytes.
type State int

// The states.
const (
	Up       State = iota
	HalfOpen       // bytes vanish in both directions, no FIN, no RST; new connections hang
	Cut            // connections are reset and new ones refused
)

// Link is a TCP proxy. Its methods may be called from any goroutine.
type Link struct {
	listener net.Listener
	target   atomic.Pointer[string]
	profile  atomic.Pointer[Profile]
	up, down atomic.Int64
	dials    atomic.Int64

	mu    sync.Mutex // guards state and conns
	state State
	conns map[*pipe]struct{}
}

// pipe is one connection through the link. Once dead it swallows bytes for
// ever, as a connection does whose other end forgot it.
type pipe struct {
	vehicle, cloud net.Conn
	dead           atomic.Bool
}

// Listen opens a link on a loopback port of the system's choice.
func Listen(target string) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l := &Link{listener: listener, conns: map[*pipe]struct{}{}}
	l.target.Store(&target)
	l.profile.Store(&Profile{})
	return l, nil
}

// Addr is where the vehicle connects to.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Bytes counts what crossed the link below TLS, from and to the vehicle.
// Bytes that vanished in a half-open link count too: the vehicle paid for them.
func (l *Link) Bytes() (up, down int64) { return l.up.Load(), l.down.Load() }

// Connections counts how often the vehicle connected.
func (l *Link) Connections() int64 { return l.dials.Load() }

// Shape sets the profile, also for connections that exist.
func (l *Link) Shape(p Profile) { l.profile.Store(&p) }

// Set changes the state. Going half-open kills the connections without a word
// to either end; they stay dead when the link is up again.
func (l *Link) Set(s State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	for p := range l.conns {
		switch s {
		case HalfOpen:
			p.dead.Store(true)
		case Cut:
			p.reset()
		}
	}
}

// reset ends both sides with RST rather than FIN.
func (p *pipe) reset() {
	for _, c := range []net.Conn{p.vehicle, p.cloud} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		if c != nil {
			_ = c.Close()
		}
	}
}

// Run serves until ctx ends and all connections are closed.
func (l *Link) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		_ = l.listener.Close()
		l.Set(Cut)
	})
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.listener.Accept()
		if ctx.Err() != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("link: %w", err)
		}
		l.dials.Add(1)
		wg.Go(func() { l.serve(ctx, conn) })
	}
}

// serve carries one connection.
func (l *Link) serve(ctx context.Context, vehicle net.Conn) {
	p := &pipe{vehicle: vehicle}
	if !l.join(p) {
		p.reset()
		return
	}
	defer l.leave(p)
	if p.dead.Load() { // the SYN vanished: nothing ever answers
		_, _ = io.Copy(io.Discard, vehicle)
		return
	}
	cloud, err := net.Dial("tcp", *l.target.Load())
	if err != nil {
		return // the cloud is away: refused
	}
	l.mu.Lock()
	p.cloud = cloud
	if l.state == Cut {
		p.reset()
	}
	l.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { l.carry(p, vehicle, cloud, &l.up, func(p *Profile) int64 { return p.Up }) })
	wg.Go(func() { l.carry(p, cloud, vehicle, &l.down, func(p *Profile) int64 { return p.Down }) })
	wg.Wait()
}

// join takes the connection in, unless the link is cut.
func (l *Link) join(p *pipe) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == Cut {
		return false
	}
	p.dead.Store(l.state == HalfOpen)
	l.conns[p] = struct{}{}
	return true
}

func (l *Link) leave(p *pipe) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, p)
	_ = p.vehicle.Close()
	if p.cloud != nil {
		_ = p.cloud.Close()
	}
}

// Sizes of one direction: what is in flight is bounded, as on a real link.
const (
	chunkBytes    = 16 << 10
	chunksOnRoad  = 64
	halfCloseWait = 5 * time.Second
)

type chunk struct {
	data []byte
	due  time.Time
}

// carry moves bytes of one direction until its source ends.
func (l *Link) carry(p *pipe, from, to net.Conn, count *atomic.Int64, rate func(*Profile) int64) {
	road := make(chan chunk, chunksOnRoad)
	var wg sync.WaitGroup
	wg.Go(func() { l.arrive(p, to, road) })
	var free time.Time // when the sender's last byte has left
	for {
		buf := make([]byte, chunkBytes)
		n, err := from.Read(buf)
		if n > 0 {
			count.Add(int64(n))
			profile := l.profile.Load()
			if r := rate(profile); r > 0 {
				free = later(free, time.Now()).Add(time.Duration(int64(n)) * time.Second / time.Duration(r))
				time.Sleep(time.Until(free))
			}
			road <- chunk{buf[:n], time.Now().Add(profile.Delay)}
		}
		if err != nil {
			break
		}
	}
	close(road)
	wg.Wait()
	if !p.dead.Load() {
		closeWrite(to)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// arrive writes chunks when they are due; those of a dead connection vanish.
func (l *Link) arrive(p *pipe, to net.Conn, road <-chan chunk) {
	for c := range road {
		time.Sleep(time.Until(c.due))
		if p.dead.Load() {
			continue
		}
		if _, err := to.Write(c.data); err != nil && !errors.Is(err, net.ErrClosed) {
			_ = to.Close()
		}
	}
}

// closeWrite passes a FIN on, and gives the other direction a moment to end.
func closeWrite(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = c.SetReadDeadline(time.Now().Add(halfCloseWait))
}
