// Package link carries what waits in the buffer to the cloud, and what the cloud
// sends back, over MQTT v5.
//
// Each connection begins with a will ("lost"), a birth ("online") with the
// same connection number, and the subscription of the vehicle's documents. Then a
// window of QoS 1 publishes is kept under way, each tied to a position in
// the buffer; only the server's PUBACK lets the buffer forget a record. Nothing
// is remembered beyond a connection but the buffer itself: after a loss its
// unacknowledged records are sent again, and the cloud de-duplicates.
//
// The package does not store, number, encode or judge the content of records
// (buffer, batch, codec). What comes from the cloud goes to package downlink. It does not
// use paho's own session state, queue or connection manager: they would resend,
// store or drop on their own account; see session.go.
//
// Read link.go for the life of the link, connection.go for that of one
// connection, sender.go for the window, and order.go for what goes first.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link/downlink"
	"telltale.dev/protocol"
)

// ticketsKept is how many TLS session tickets are kept, for all endpoints.
const ticketsKept = 8

// settledAfter: a connection that lasted so many times BackoffMin was a good one: the
// back-off begins anew, at the same endpoint. A shorter one counts as a failed attempt.
const settledAfter = 10

// Link is the device's connection to the cloud.
type Link struct {
	cfg       Config
	endpoints []endpoint
	tickets   tls.ClientSessionCache
	down      *downlink.Downlink
	stats     counters
	began     time.Time                                // before any record of this boot, by the monotonic clock, too
	ends      [protocol.Priorities + 1]buffer.Position // what is behind it was made in this boot; by class

	mailbox mailbox
	absence absence
	lowest  atomic.Uint32 // protocol.Priority: records below it are held
	allowed chan struct{} // receives after a change of lowest; capacity 1

	// Owned by Run.
	number   uint64                                  // of the last attempt to connect
	strikes  map[buffer.Position]int                 // see suspects.go
	schemas  map[string]map[protocol.SchemaHash]bool // acknowledged in this boot, by endpoint
	failures map[string]string                       // what was logged last about an endpoint
	worth    map[string]string                       // the guarantee that was logged last
}

// New checks the settings, and reads what the inbox holds of a former run.
func New(cfg Config) (*Link, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	endpoints, err := cfg.parseEndpoints()
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l := &Link{
		cfg: cfg, endpoints: endpoints, tickets: tls.NewLRUClientSessionCache(ticketsKept),
		began: time.Now(), allowed: make(chan struct{}, 1), strikes: map[buffer.Position]int{},
		schemas: map[string]map[protocol.SchemaHash]bool{}, failures: map[string]string{}, worth: map[string]string{},
	}
	for class := protocol.CS0; class <= protocol.CS6; class++ {
		l.ends[class] = cfg.Buffer.End(class)
	}
	l.down, err = downlink.Open(downlink.Config{Dir: cfg.Inbox, Vehicle: cfg.Vehicle, Routes: cfg.Routes, Write: cfg.Write, Log: cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	for _, e := range endpoints {
		l.schemas[e.address] = map[protocol.SchemaHash]bool{}
	}
	return l, nil
}

// Run keeps the device connected until ctx ends, except between Leave and Return. Then it waits DrainTime at most
// for publishes under way, says goodbye (offline, or asleep) and returns nil.
// It must be called once.
func (l *Link) Run(ctx context.Context) error {
	var taking sync.WaitGroup
	taking.Go(func() { l.down.Run(ctx) }) // also while there is no connection: what a former run has left waits
	defer taking.Wait()

	for ctx.Err() == nil {
		present, cancel := l.absence.present(ctx)
		l.stay(present)
		cancel()
		l.absence.away(ctx)
	}
	return nil
}

// stay keeps the device connected until ctx ends.
func (l *Link) stay(ctx context.Context) {
	wait := backoff{min: l.cfg.BackoffMin, max: l.cfg.BackoffMax, first: l.cfg.PowerJitter}
	for at := 0; sleep(ctx, wait.next()); {
		began := time.Now()
		up, err := l.attempt(ctx, l.endpoints[at])
		if ctx.Err() != nil {
			return
		}
		l.failed(l.endpoints[at], up, err)
		if up && time.Since(began) >= settledAfter*l.cfg.BackoffMin {
			wait.reset()
			continue
		}
		at = (at + 1) % len(l.endpoints)
	}
}

// attempt connects once and stays until the connection ends. up is true when
// there was one; err says why there is none any more, nil after a graceful stop.
func (l *Link) attempt(ctx context.Context, e endpoint) (up bool, err error) {
	l.number++
	l.stats.add(func(s *Stats) { s.Endpoint, s.Connection = e.address, l.number })
	var o offer
	w, err := l.dial(ctx, e, &o)
	if err != nil {
		return false, &attemptError{err: err, offer: &o}
	}
	c, err := l.open(ctx, e, w)
	if err != nil {
		return false, &attemptError{err: err, offer: &o}
	}
	l.connected(c)
	err = c.serve(ctx)
	l.disconnected(c)
	if err != nil {
		err = &attemptError{err: err, offer: &o}
	}
	return true, err
}

// connected logs and counts a new connection.
func (l *Link) connected(c *connection) {
	l.mailbox.open()
	l.stats.add(func(s *Stats) {
		s.Connected, s.Since, s.Guarantee = true, time.Now(), c.guarantee
		s.Window, s.InFlight, s.SetAside = c.limits.window, 0, 0
	})
	delete(l.failures, c.endpoint.address)
	l.cfg.Log.Info("connected", "endpoint", c.endpoint.address, "connection", l.number, "window", c.limits.window, "topic_aliases", c.limits.aliases)
	if worth, told := l.worth[c.endpoint.address]; told && worth == c.guarantee {
		return
	}
	l.worth[c.endpoint.address] = c.guarantee
	if c.guarantee != guaranteeStored {
		l.cfg.Log.Warn("the server does not promise to store: the guarantee ends at this broker", "endpoint", c.endpoint.address)
	}
}

func (l *Link) disconnected(c *connection) {
	l.mailbox.close()
	l.stats.add(func(s *Stats) {
		s.Connected, s.Since, s.InFlight = false, time.Now(), 0
		s.WireBytesUp += c.wire.sent.Load()
		s.WireBytesDown += c.wire.received.Load()
	})
}

// failed logs and counts why there is no connection.
func (l *Link) failed(e endpoint, up bool, err error) {
	var a *attemptError
	if !errors.As(err, &a) {
		return
	}
	text, hint := explain(a.err, a.offer, time.Now())
	what := "cannot connect: " + text
	if up {
		what = "connection lost: " + text
	}
	l.complain(e, what, hint, a.err)
	l.stats.add(func(s *Stats) {
		s.LastError = text
		if up {
			s.Losses++
		}
	})
}

// complain logs a failure: once per kind of failure, not per attempt.
func (l *Link) complain(e endpoint, what, hint string, err error) {
	if l.failures[e.address] == what {
		return
	}
	l.failures[e.address] = what
	args := []any{"endpoint", e.address, "connection", l.number, "error", err}
	if hint != "" {
		args = append(args, "hint", hint)
	}
	l.cfg.Log.Warn(what, args...)
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
