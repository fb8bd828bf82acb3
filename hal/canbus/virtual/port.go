package virtual

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// Port is one process's place on a virtual bus.
type Port struct {
	bus  string
	conn net.Conn

	in *bufio.Reader // owned by Receive, as are the next two
	// open is the message being read; it lies in the first held bytes of in's buffer.
	open frames
	held int

	received, dropped atomic.Uint64
	closed            atomic.Bool

	sending sync.Mutex // guards out
	out     []byte
}

var (
	_ canbus.Bus    = (*Port)(nil)
	_ canbus.Sender = (*Port)(nil)
)

// Dial attaches to the bus that url names (ParseURL). The bus is also a
// canbus.Sender. When nothing listens it fails at once, or after the wait that
// the URL asks for; ctx bounds the attaching only.
func Dial(ctx context.Context, url string) (canbus.Bus, error) {
	a, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(a.Wait)
	for {
		p, err := dial(ctx, a)
		if err == nil {
			return p, nil
		}
		err = fmt.Errorf("virtual bus %s on %s: %w", a.Bus, a.short(), err)
		if !errors.Is(err, ErrNoHub) || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-time.After(retryDelay):
		}
	}
}

// ErrNoHub says that nothing listens where the hub should be.
var ErrNoHub = errors.New("nothing listens there; is the simulator running?")

func dial(ctx context.Context, a Address) (*Port, error) {
	var dialer net.Dialer
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, a.Network, a.Host)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT):
		return nil, ErrNoHub
	case err != nil:
		return nil, reason(err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(past()) })
	_, err = conn.Write(appendHello(nil, hello{uint32(os.Getpid()), a.Bus, a.Name}))
	if err == nil {
		_, err = readWelcome(conn)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("no welcome from the hub: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("attach: %w", err)
	}
	buffers(conn)
	return &Port{bus: a.Bus, conn: conn, in: bufio.NewReaderSize(conn, 2*(maxBody+lengthSize))}, nil
}

func past() time.Time { return time.Unix(1, 0) }

// Receive implements canbus.Bus. Frames that have arrived stay readable after ctx has ended, by a Receive with another.
func (p *Port) Receive(ctx context.Context, dst []can.Frame) (n int, err error) {
	for n == 0 && len(dst) > 0 {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if p.closed.Load() {
			return 0, p.fail(net.ErrClosed)
		}
		if p.open.count == 0 && !p.complete() {
			if err := p.wait(ctx); err != nil {
				return 0, err
			}
		}
		for n < len(dst) && (p.open.count > 0 || p.complete() && (n == 0 || !p.gap())) {
			m, err := p.read(dst[n:])
			n += m
			if err != nil {
				return p.hand(n), p.fail(err)
			}
		}
	}
	return p.hand(n), nil
}

// hand counts n frames as received.
func (p *Port) hand(n int) int {
	p.received.Add(uint64(n))
	return n
}

// complete says whether in holds a whole message (or one that is too long, which read refuses).
func (p *Port) complete() bool {
	buffered := p.in.Buffered()
	if buffered < lengthSize {
		return false
	}
	head, _ := p.in.Peek(lengthSize)
	length := binary.LittleEndian.Uint32(head)
	return length > maxBody || buffered >= lengthSize+int(length)
}

// gap says whether frames were dropped in front of the message in in, which is complete.
func (p *Port) gap() bool {
	const droppedAt, size = lengthSize + 1, 8
	head, err := p.in.Peek(droppedAt + size)
	return err == nil && binary.LittleEndian.Uint64(head[droppedAt:]) > 0
}

// read moves frames out of the message at the front of in, which is complete.
func (p *Port) read(dst []can.Frame) (n int, err error) {
	if p.open.count == 0 {
		body, err := readMessage(p.in)
		if err != nil {
			return 0, err
		}
		var dropped uint64
		if p.open, dropped, err = openBody(body); err != nil {
			return 0, err
		}
		p.held = len(body)
		p.dropped.Add(dropped)
	}
	n, err = p.open.next(dst)
	if p.open.count == 0 {
		p.in.Discard(p.held)
	}
	return n, err
}

// wait blocks until in has got more bytes, ctx ends or the connection does.
func (p *Port) wait(ctx context.Context) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.conn.SetReadDeadline(past())
		close(woken)
	})
	_, err := p.in.Peek(p.in.Buffered() + 1)
	if !stop() {
		<-woken
		p.conn.SetReadDeadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return ctx.Err()
		}
	}
	switch {
	case err == nil:
		return nil
	case p.closed.Load():
		return p.fail(net.ErrClosed)
	case errors.Is(err, io.EOF) && p.in.Buffered() > 0:
		return p.fail(io.ErrUnexpectedEOF)
	case gone(err):
		return io.EOF
	}
	return p.fail(err)
}

func (p *Port) fail(err error) error { return fmt.Errorf("virtual bus %s: %w", p.bus, err) }

// Send implements canbus.Sender. When ctx ends in the middle of a message the port is closed, because the hub could not read on.
func (p *Port) Send(ctx context.Context, all []can.Frame) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	for len(all) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(all), batchFrames)
		p.out = beginFrames(p.out)
		for i := range all[:n] {
			if err := checkFrame(&all[i]); err != nil {
				return p.fail(err)
			}
			p.out = appendFrame(p.out, &all[i])
		}
		endFrames(p.out, 0, n)
		if err := p.write(ctx); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// write writes out. Callers hold sending.
func (p *Port) write(ctx context.Context) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.conn.SetWriteDeadline(past())
		close(woken)
	})
	_, err := p.conn.Write(p.out)
	if !stop() {
		<-woken
		p.conn.SetWriteDeadline(time.Time{})
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.Close()
		return ctx.Err()
	case p.closed.Load():
		return p.fail(net.ErrClosed)
	}
	return p.fail(reason(err))
}

// Stats implements canbus.Bus.
func (p *Port) Stats() canbus.Stats {
	return canbus.Stats{Received: p.received.Load(), Dropped: p.dropped.Load()}
}

// Close implements canbus.Bus. It may be called twice.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	return p.conn.Close()
}
