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
// It joins three rooms below it: session is one connection, uplink decides what goes
// next and what the server's answers mean, downlink brings to its taker what comes in.
//
// The package does not store, number, encode or judge the content of records: agent/buffer,
// agent/batch and protocol/batches do.
//
// Read link.go for the life of the link and connection.go for that of one connection.
package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"telltale.dev/agent/link/downlink"
	"telltale.dev/agent/link/session"
	"telltale.dev/agent/link/uplink"
	"telltale.dev/protocol"
)

// settledAfter: a connection that lasted so many times BackoffMin was a good one: the
// back-off begins anew, at the same endpoint. A shorter one counts as a failed attempt.
const settledAfter = 10

// Link is the device's connection to the cloud.
type Link struct {
	cfg       Config
	endpoints []session.Endpoint
	dialer    *session.Dialer
	up        *uplink.Uplink
	down      *downlink.Downlink
	stats     counters
	absence   absence

	// Owned by Run.
	subscription subscription
	number       uint64            // of the last attempt to connect
	failures     map[string]string // what was logged last about an endpoint
	guarantees   map[string]string // the guarantee that was logged last
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
	l := &Link{cfg: cfg, endpoints: endpoints, failures: map[string]string{}, guarantees: map[string]string{}}
	l.dialer = session.NewDialer(session.Config{
		TLS: cfg.TLS, Device: cfg.Device, KeepAlive: cfg.KeepAlive, SessionExpiry: cfg.SessionExpiry, Timeout: cfg.Timeout,
		WriteTimeout: cfg.AckTimeout, Grace: cfg.DrainTime, Window: cfg.Window, ReceiveMaximum: downlink.ReceiveMaximum, Receive: l.receive,
	})
	l.up = uplink.New(uplink.Config{
		Vehicle: cfg.Vehicle, Buffer: cfg.Buffer, Schemas: cfg.Schemas,
		BackoffMin: cfg.BackoffMin, BackoffMax: cfg.BackoffMax, AckTimeout: cfg.AckTimeout, Log: cfg.Log,
	})
	l.down, err = downlink.Open(downlink.Config{Dir: cfg.Inbox, Vehicle: cfg.Vehicle, Routes: cfg.Routes, Write: cfg.Write, Log: cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	return l, nil
}

// Hold keeps records of the classes below lowest in the buffer: see uplink.Uplink.Hold.
func (l *Link) Hold(lowest protocol.Priority) { l.up.Hold(lowest) }

// Message is what goes to the cloud without waiting on disk.
type Message = uplink.Message

// Send hands a message over: see uplink.Uplink.Send.
func (l *Link) Send(m Message) { l.up.Send(m) }

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
	wait := session.Backoff{Min: l.cfg.BackoffMin, Max: l.cfg.BackoffMax, First: l.cfg.PowerJitter}
	for at := 0; sleep(ctx, wait.Next()); {
		began := time.Now()
		up, err := l.attempt(ctx, l.endpoints[at])
		if ctx.Err() != nil {
			return
		}
		l.failed(l.endpoints[at], up, err)
		if up && time.Since(began) >= settledAfter*l.cfg.BackoffMin {
			wait.Reset()
			continue
		}
		at = (at + 1) % len(l.endpoints)
	}
}

// attempt connects once and stays until the connection ends. up is true when
// there was one; err says why there is none any more, nil after a graceful stop.
func (l *Link) attempt(ctx context.Context, e session.Endpoint) (up bool, err error) {
	l.number++
	l.stats.add(func(s *Stats) { s.Endpoint, s.Connection = e.Address, l.number })
	will, err := l.will(l.number)
	if err != nil {
		return false, err
	}
	s, err := l.dialer.Connect(ctx, e, will)
	if err != nil {
		return false, err
	}
	c := &connection{l: l, endpoint: e, session: s, sender: l.up.Connect(e.Address, s.Limits, s.Publish)}
	l.connected(c)
	err = c.serve(ctx)
	l.disconnected(c)
	return true, err
}

// connected logs and counts a new connection.
func (l *Link) connected(c *connection) {
	address, guarantee := c.endpoint.Address, c.session.Guarantee
	l.stats.add(func(s *Stats) { s.Connected, s.Since, s.Guarantee = true, time.Now(), guarantee })
	delete(l.failures, address)
	l.cfg.Log.Info("connected", "endpoint", address, "connection", l.number, "window", c.session.Limits.Window, "topic_aliases", c.session.Limits.Aliases)
	if last, told := l.guarantees[address]; told && last == guarantee {
		return
	}
	l.guarantees[address] = guarantee
	if guarantee != session.GuaranteeStored {
		l.cfg.Log.Warn("the server does not promise to store: the guarantee ends at this broker", "endpoint", address)
	}
}

func (l *Link) disconnected(c *connection) {
	up, down := c.session.Bytes()
	l.stats.add(func(s *Stats) {
		s.Connected, s.Since = false, time.Now()
		s.WireBytesUp += up
		s.WireBytesDown += down
	})
}

// failed logs and counts why there is no connection; nil after a graceful stop.
func (l *Link) failed(e session.Endpoint, up bool, err error) {
	if err == nil {
		return
	}
	text, hint := session.Explain(err, time.Now())
	what := "cannot connect: " + text
	if up {
		what = "connection lost: " + text
	}
	l.complain(e.Address, what, hint, err)
	l.stats.add(func(s *Stats) {
		s.LastError = text
		if up {
			s.Losses++
		}
	})
}

// complain logs a failure: once per kind of failure, not per attempt.
func (l *Link) complain(address, what, hint string, err error) {
	if l.failures[address] == what {
		return
	}
	l.failures[address] = what
	args := []any{"endpoint", address, "connection", l.number, "error", err}
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
