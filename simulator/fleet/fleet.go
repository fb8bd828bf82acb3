package fleet

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/protocol"
)

// Bounds of a Config.
const (
	maxVehicles = 100_000
	maxWindow   = 1024
	// minRate keeps a vehicle within the broker's keep-alive without pings, in messages a second.
	minRate = 0.01
	// maxPhases is how many phases are told apart, an even number; later ones join the last two.
	maxPhases = 64
	// maxHandshakes is how many vehicles connect at once: more would only time out together.
	maxHandshakes = 64
)

// Identity is one light vehicle: its names, and the certificate it shows.
type Identity struct {
	Vehicle     protocol.VehicleID
	Device      protocol.DeviceID // also the MQTT client id
	Certificate tls.Certificate   // empty: none is shown
}

// Config says what to drive against what.
type Config struct {
	Address  string         // of the broker, host:port; TLS 1.2 or newer
	Roots    *x509.CertPool // nil: those of the system
	Vehicles []Identity     // with different names
	Flood    int            // so many of the vehicles, the last ones, flood
	// BulkRate makes the flooding vehicles send bulk data (CS1), so many messages a second each, beside the
	// urgent ones of the others; 0: they send as fast as they can, of the same class.
	BulkRate float64
	Pulse    time.Duration // they rest for so long, then flood for as long, and so on; 0: they flood all the time
	// Failed is told each cause of failed or lost connections when it happens first; from any goroutine. nil: nobody.
	Failed   func(cause string)
	Rate     float64       // messages a second and vehicle; 0: as fast as they are acknowledged
	Window   int           // unacknowledged publishes of a vehicle; 0 means 1. The broker's receive maximum lowers it
	Random   int           // bytes of a random payload; 0: batches of a synthetic schema
	Duration time.Duration // of publishing, from when all have connected or failed to; 0: until ctx ends
	Ramp     float64       // vehicles that begin to connect a second; 0: all at once

	// Progress, when set, is called once a second, and not after Run has returned.
	Progress func(Progress)
	// Began and Ended, when set, are called when publishing begins and when it ends.
	Began, Ended func()
}

// ErrConfig is wrapped by what Run says of a Config.
var ErrConfig = errors.New("load not possible")

// tooSlow says of a rate that it is neither 0 nor fast enough.
func tooSlow(rate float64) bool { return rate != 0 && !(rate >= minRate) }

func (c *Config) validate() error {
	switch n := len(c.Vehicles); {
	case n < 1 || n > maxVehicles:
		return fmt.Errorf("%w: %d vehicles: expected 1 to %d", ErrConfig, n, maxVehicles)
	case c.Flood < 0 || c.Flood > n:
		return fmt.Errorf("%w: %d flooding vehicles: expected 0 to %d", ErrConfig, c.Flood, n)
	case tooSlow(c.Rate), tooSlow(c.BulkRate):
		return fmt.Errorf("%w: rate: expected 0, or at least %v messages a second", ErrConfig, minRate)
	case c.Window < 0 || c.Window > maxWindow:
		return fmt.Errorf("%w: window: expected 1 to %d", ErrConfig, maxWindow)
	case c.Random < 0 || c.Random > protocol.MaxPacket/2:
		return fmt.Errorf("%w: payload: expected 1 to %d bytes", ErrConfig, protocol.MaxPacket/2)
	case c.Duration < 0 || c.Pulse < 0 || !(c.Ramp >= 0):
		return fmt.Errorf("%w: duration, pulse and ramp: expected no negative number", ErrConfig)
	}
	return nil
}

// run is one Run.
type run struct {
	cfg      Config
	payloads payloads
	started  time.Time
	gate     chan struct{}        // closed when publishing begins
	places   chan struct{}        // of vehicles that are connecting
	boot     protocol.BootID      // of all vehicles, new in each run
	groups   [2]group             // normal, flooding
	phases   []Histogram          // of normal vehicles with Pulse, by phase of their publish; see phase
	began    atomic.Int64         // clock when publishing began; 0: not yet
	measured atomic.Pointer[mark] // when it ended

	connected atomic.Int64
	bytes     atomic.Uint64 // of payload published

	mu     sync.Mutex // guards errors
	errors map[string]uint64
}

// Run drives the vehicles until the duration is over or ctx ends, and returns
// when every connection is closed. A vehicle that loses its connection, or gets
// none, tries again; what went wrong is in the summary. The error is about cfg only.
func Run(ctx context.Context, cfg Config) (*Summary, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &run{
		cfg: cfg, started: time.Now(), gate: make(chan struct{}), places: make(chan struct{}, maxHandshakes),
		errors: map[string]uint64{},
	}
	_, _ = rand.Read(r.boot[:]) // never fails
	r.groups[1].flooding = true
	if cfg.Pulse > 0 {
		r.phases = make([]Histogram, maxPhases)
	}
	var err error
	if r.payloads, err = newPayloads(cfg.Random); err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	r.drive(ctx, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots, ServerName: host})
	return r.summary(), nil
}

// drive runs all vehicles to their end.
func (r *run) drive(ctx context.Context, base *tls.Config) {
	stop, end := context.WithCancel(ctx)
	defer end()
	var vehicles, tried, progress sync.WaitGroup
	tried.Add(len(r.cfg.Vehicles))
	vehicles.Go(func() {
		tried.Wait()
		r.publishing(stop)
		end()
	})
	if r.cfg.Progress != nil {
		told, quiet := context.WithCancel(context.WithoutCancel(ctx))
		progress.Go(func() { r.tell(told) })
		defer progress.Wait()
		defer quiet()
	}
	ramp := newRamp(r.cfg.Ramp)
	for i := range r.cfg.Vehicles {
		ramp.next(stop)
		v := r.vehicle(i, base)
		vehicles.Go(func() {
			first := sync.OnceFunc(tried.Done)
			defer first()
			v.drive(ctx, stop, first)
		})
	}
	vehicles.Wait()
}

// publishing opens the gate for as long as is measured.
func (r *run) publishing(stop context.Context) {
	if stop.Err() != nil {
		return
	}
	if r.cfg.Began != nil {
		r.cfg.Began()
	}
	r.began.Store(int64(r.clock()))
	close(r.gate)
	if r.cfg.Duration > 0 {
		pause(stop, r.cfg.Duration)
	} else {
		<-stop.Done()
	}
	r.measured.Store(r.mark())
	if r.cfg.Ended != nil {
		r.cfg.Ended()
	}
}

func (r *run) vehicle(i int, base *tls.Config) *vehicle {
	v := &vehicle{Identity: r.cfg.Vehicles[i], run: r, group: &r.groups[0], window: max(r.cfg.Window, 1), config: base.Clone()}
	if r.cfg.Rate > 0 {
		v.interval = time.Duration(float64(time.Second) / r.cfg.Rate)
	}
	if i >= len(r.cfg.Vehicles)-r.cfg.Flood {
		v.group, v.interval, v.window = &r.groups[1], 0, floodWindow
		if r.cfg.BulkRate > 0 {
			v.interval = time.Duration(float64(time.Second) / r.cfg.BulkRate)
		}
	}
	if len(v.Certificate.Certificate) > 0 {
		v.config.Certificates = []tls.Certificate{v.Certificate}
	}
	v.template = r.payloads.template(v.Identity)
	if v.group.flooding && r.cfg.BulkRate > 0 {
		v.template.Content.(*packets.Publish).Properties.User[0].Value = protocol.CS1.String() // the priority
	}
	v.id = protocol.MessageID{Device: v.Device, Boot: r.boot}
	return v
}

// ramp spaces the starts of vehicles.
type ramp struct {
	interval time.Duration
	due      time.Time
}

func newRamp(perSecond float64) *ramp {
	if perSecond <= 0 {
		return &ramp{}
	}
	return &ramp{interval: time.Duration(float64(time.Second) / perSecond), due: time.Now()}
}

// next waits for the next start.
func (p *ramp) next(ctx context.Context) {
	if wait := time.Until(p.due); wait > 0 {
		pause(ctx, wait)
	}
	p.due = p.due.Add(p.interval)
}

// clock is the time of the run; it is never zero, and follows no change of the wall clock.
func (r *run) clock() time.Duration { return time.Since(r.started) + 1 }

// phase numbers the phases of flooding vehicles, from 0, and says how long the one
// at a time of the clock lasts. They flood in odd ones; without Pulse it is always 1.
func (r *run) phase(at time.Duration) (number int, left time.Duration) {
	pulse := r.cfg.Pulse
	if pulse == 0 {
		return 1, 0
	}
	passed := at - time.Duration(r.began.Load())
	return int(passed / pulse), pulse - passed%pulse
}

// enter waits for a place among those that are connecting; false when ctx ended.
func (r *run) enter(ctx context.Context) bool {
	select {
	case r.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *run) leave() { <-r.places }
