package broker

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"time"
)

// gated is what a connection's listener may offer: it is told who holds the
// connection, because until then it may be closed in favour of another.
type gated interface{ Known(holder string) }

// accept takes connections until ctx is done or the listener is closed. The bounds of
// those that have not connected yet, and errors that pass, are the listener's business.
func (b *Broker) accept(ctx context.Context) error {
	for {
		raw, err := b.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = raw.Close()
			}
			return nil
		case err != nil:
			return fmt.Errorf("broker: %w", err)
		}
		// One deadline for the handshake and CONNECT; reader and writer set others afterwards.
		_ = raw.SetDeadline(time.Now().Add(b.cfg.ConnectTimeout))
		c := newConnection(b, raw)
		b.connections.Go(func() { b.serve(c) })
	}
}

// serve establishes a connection. Its goroutine ends afterwards, because it would keep the large stack that the handshake
// needed. The reader gets a new goroutine.
func (b *Broker) serve(c *connection) {
	b.mu.Lock()
	b.open[c] = struct{}{}
	closing := b.closing
	b.mu.Unlock()
	if closing {
		b.finish(c, net.ErrClosed)
		return
	}
	if err := b.survive(c, c.establish); err != nil {
		if !c.admitted.Load() {
			b.counters.failedConnects.Add(1)
		}
		b.finish(c, err)
		return
	}
	b.connections.Go(func() { b.finish(c, b.survive(c, c.read)) })
}

// survive does a part of a connection's work. The decoder panics on some malformed
// packets, which incoming.go keeps from it; should there be one more, or one that cannot be
// written, that ends this connection and nothing else, and its stack is logged once in a while.
func (b *Broker) survive(c *connection, work func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b.counters.panics.Add(1)
			if now := time.Now().UnixNano(); now-b.panicLogged.Load() > int64(panicLogInterval) {
				b.panicLogged.Store(now)
				b.log.Error("a packet panicked", "connection", c.client.Connection, "panics", b.counters.panics.Load(), "stack", string(debug.Stack()))
			}
			c.broken.Store(true)
			err = errPanic
		}
	}()
	return work()
}

// finish releases all that a connection holds, whatever way it ended.
func (b *Broker) finish(c *connection, cause error) {
	_ = c.Close()
	c.stopWriter()
	c.leavePlace()
	b.detach(c)
	b.mu.Lock()
	delete(b.open, c)
	b.mu.Unlock()
	b.log.Debug("connection ended", "connection", c.client.Connection, "cause", redact(cause))
}
