package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

// listenerID is mochi's name for our listener.
const listenerID = "mqtt"

// gate bounds the connections whose CONNECT was not accepted yet, in all and by
// IP address: before that a stranger costs a TLS handshake and some buffers.
type gate struct {
	limit, perAddress int

	mu        sync.Mutex // guards what follows
	total     int
	addresses map[netip.Addr]int
}

func (g *gate) init(limit, perAddress int) {
	g.limit, g.perAddress = limit, perAddress
	g.addresses = make(map[netip.Addr]int)
}

func (g *gate) enter(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.limit || g.addresses[a] >= g.perAddress {
		return false
	}
	g.total++
	g.addresses[a]++
	return true
}

func (g *gate) leave(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.addresses[a]--; g.addresses[a] == 0 {
		delete(g.addresses, a)
	}
}

// accept takes connections until ctx is done. Any error but a closed listener is
// taken for a passing one (no file descriptor left, connection reset in the
// backlog) and tried again with back-off.
func (b *Broker) accept(ctx context.Context) error {
	backoff := acceptBackoffMin
	for {
		raw, err := b.listener.Accept()
		switch {
		case err == nil:
			backoff = acceptBackoffMin
			b.admitSocket(raw)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("broker: %w", err)
		default:
			b.counters.acceptErrors.Add(1)
			b.log.Warn("accepting a connection", "error", err, "again_in", backoff)
			select {
			case <-ctx.Done():
			case <-time.After(backoff):
			}
			backoff = min(2*backoff, acceptBackoffMax)
		}
	}
}

// admitSocket starts to serve a socket, or closes it when there are too many unknown ones.
func (b *Broker) admitSocket(raw net.Conn) {
	address := addressOf(raw)
	if !b.gate.enter(address) {
		b.counters.refusedSockets.Add(1)
		_ = raw.Close()
		return
	}
	// One deadline for the handshake and CONNECT; mochi sets others afterwards.
	_ = raw.SetDeadline(time.Now().Add(b.cfg.ConnectTimeout))
	c := newConnection(b, tls.Server(raw, b.cfg.TLS), address)
	b.connections.Go(func() { b.serve(c) })
}

func addressOf(raw net.Conn) netip.Addr {
	port, err := netip.ParseAddrPort(raw.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return port.Addr().Unmap()
}

// serve reads one connection to its end.
func (b *Broker) serve(c *connection) {
	b.mu.Lock()
	b.open[c] = struct{}{}
	closing := b.closing
	b.mu.Unlock()
	if !closing {
		err := b.establish(c)
		b.log.Debug("connection ended", "connection", c.client.Connection, "cause", redact(err))
	}
	b.finish(c)
}

// establish runs mochi on the connection. Its decoder panics on some malformed
// packets (a SUBSCRIBE that ends before the options of a filter); that ends this
// connection and nothing else.
func (b *Broker) establish(c *connection) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b.counters.panics.Add(1)
			b.log.Error("reading a packet panicked", "connection", c.client.Connection, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	err = b.server.EstablishConnection(listenerID, c)
	if !c.admitted.Load() {
		b.counters.failedConnects.Add(1)
	}
	return err
}

// finish releases all that a connection holds, whatever way it ended.
func (b *Broker) finish(c *connection) {
	_ = c.Close()
	c.stopWriter()
	if c.mochi != nil {
		b.server.Clients.Delete(c.mochi.ID)
	}
	b.leaveGate(c)
	b.detach(c)
	b.mu.Lock()
	delete(b.open, c)
	b.mu.Unlock()
}

// leaveGate is called once CONNECT was accepted, or at the end. Owned by serve.
func (b *Broker) leaveGate(c *connection) {
	if !c.leftGate {
		c.leftGate = true
		b.gate.leave(c.address)
	}
}
