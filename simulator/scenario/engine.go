package scenario

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/protocol/report"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/world"
)

// Engine plays one scenario in one world.
type Engine struct {
	scenario *Scenario
	world    *world.World
	screen   *Screen
	began    time.Time
	cars     map[string]*car
	order    []*car         // as in the file
	pending  sync.WaitGroup // expectations

	mu      sync.Mutex // guards all below
	now     string
	checks  []Check
	holding int // expectations that hold the drive
	ops     *world.Operations
}

// car is a vehicle with its drive.
type car struct {
	*world.Vehicle
	units   []*unit // as in the file
	logs    map[string]*drive.Log
	gate    gate
	driving atomic.Pointer[driving] // nil until it drives
}

// unit is a device with what is known of the drive on its buses.
type unit struct {
	*world.Device
	car        *car
	cfg        world.DeviceConfig
	truth      *drive.Truth
	everything bool           // it collects every sample
	before     report.Account // its folder before the drive
}

// some gives the devices that VEHICLE or VEHICLE/DEVICE names.
func (e *Engine) some(what string) []*unit {
	vehicle, device, one := strings.Cut(what, "/")
	c := e.cars[vehicle]
	if !one {
		return c.units
	}
	i := slices.IndexFunc(c.units, func(u *unit) bool { return u.ID() == device })
	return c.units[i : i+1]
}

// one gives the device that VEHICLE/DEVICE names, or VEHICLE when it has only one.
func (e *Engine) one(what string) *unit { return e.some(what)[0] }

// New joins a scenario with a world that nothing runs in yet.
func New(s *Scenario, w *world.World, screen *Screen) *Engine {
	return &Engine{scenario: s, world: w, screen: screen, cars: map[string]*car{}}
}

// Run plays the scenario to its end and tells how it went. An error means that
// it could not be played; what did not go as expected is in the result.
func (e *Engine) Run(ctx context.Context) (*Result, error) {
	e.began = time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := e.build(ctx); err != nil {
		return nil, e.close(err)
	}
	watching := make(chan struct{})
	go func() { defer close(watching); e.watch(ctx) }()
	err := e.play(ctx)
	var result *Result
	if err == nil {
		result, err = e.finish(ctx)
	}
	cancel()
	<-watching
	e.screen.End()
	return result, e.close(err)
}

// build starts the cloud and the vehicles.
func (e *Engine) build(ctx context.Context) error {
	if err := e.world.StartCloud(ctx); err != nil {
		return err
	}
	for _, def := range e.scenario.World.Vehicles {
		c, cfg, err := e.prepare(ctx, def)
		if err != nil {
			return err
		}
		if err := e.start(ctx, c, cfg); err != nil {
			return err
		}
		e.cars[def.Name] = c
		e.order = append(e.order, c)
	}
	return nil
}

// start makes a vehicle and powers its devices on.
func (e *Engine) start(ctx context.Context, c *car, cfg world.VehicleConfig) (err error) {
	devices := make([]world.DeviceConfig, len(c.units))
	for i, u := range c.units {
		devices[i] = u.cfg
	}
	if c.Vehicle, err = e.world.AddVehicle(ctx, cfg, devices...); err != nil {
		return err
	}
	for i, u := range c.units {
		u.Device = c.Devices[i]
		if u.before, err = u.AccountBefore(ctx); err != nil {
			return err
		}
		if err := u.Start(ctx); err != nil {
			return err
		}
		if u.cfg.Campaign == "" {
			e.say(u.Title() + " collects every signal: the starter campaign")
		}
	}
	return nil
}

// play goes through the timeline, then waits for the drives' ends and for all expectations.
func (e *Engine) play(ctx context.Context) error {
	for i := range e.scenario.Timeline {
		m := &e.scenario.Timeline[i]
		if err := e.await(ctx, m.At); err != nil {
			return err
		}
		e.hold(e.next(i)) // also while things are done: none of them may see the next point pass
		if err := e.doAll(ctx, m); err != nil {
			return err
		}
		for k := range m.Expect {
			e.watchFor(ctx, &m.Expect[k])
		}
	}
	e.hold(open)
	for !e.over() {
		if err := e.pause(ctx, step); err != nil {
			return err
		}
	}
	e.pending.Wait()
	return ctx.Err()
}

// doAll does the things of one moment. What the moment says is said when the first of
// them has happened, because a power cut waits for the agent to write.
func (e *Engine) doAll(ctx context.Context, m *Moment) error {
	for k := range m.Do {
		if err := e.do(ctx, &m.Do[k]); err != nil {
			return err
		}
		if k == 0 && m.Say != "" {
			e.say(m.Say)
		}
	}
	if len(m.Do) == 0 && m.Say != "" {
		e.say(m.Say)
	}
	return nil
}

// next is the share of the drive at which the next point behind moment i is.
func (e *Engine) next(i int) float64 {
	for _, m := range e.scenario.Timeline[i+1:] {
		if m.At.ByShare {
			return m.At.Share
		}
	}
	return open
}

// hold lets the drives go on to a share.
func (e *Engine) hold(share float64) {
	for _, c := range e.order {
		c.gate.at(share)
	}
}

// watchFor waits for a condition beside the timeline.
func (e *Engine) watchFor(ctx context.Context, x *Expect) {
	count := func(n int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.holding += n
	}
	holds := 0
	if _, ok := x.That.(pausing); ok {
		holds = 1
	}
	count(holds)
	e.pending.Go(func() {
		e.expect(ctx, x)
		count(-holds)
	})
}

// met says whether nothing holds the drive any more.
func (e *Engine) met() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.holding == 0
}

// step is how often conditions are looked at.
const step = 20 * time.Millisecond

// await waits for a point of the timeline, and notices when the world falls
// apart meanwhile. A share of the drive comes when it is reached and what was
// expected before is met, or missed.
func (e *Engine) await(ctx context.Context, w When) error {
	for {
		if w.ByShare && e.met() && (w.Share == 0 || e.share() >= w.Share) {
			return nil
		}
		if !w.ByShare && time.Since(e.began) >= w.Time {
			return nil
		}
		if err := e.pause(ctx, step); err != nil {
			return err
		}
	}
}

// pause waits; a child that ended on its own, a drive that failed, or the end of ctx ends the scenario.
func (e *Engine) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
	}
	for _, c := range e.order {
		if d := c.driving.Load(); d != nil {
			if _, err := d.ended(); err != nil {
				return err
			}
		}
	}
	return e.world.Failure()
}

// over says whether nobody drives any more.
func (e *Engine) over() bool {
	for _, c := range e.order {
		if d := c.driving.Load(); d != nil {
			if ended, _ := d.ended(); !ended {
				return false
			}
		}
	}
	return true
}

// share is how much of the drive is done: the least of all that drive.
func (e *Engine) share() float64 {
	share := 1.0
	for _, c := range e.order {
		if d := c.driving.Load(); d != nil {
			share = min(share, d.Progress().Fraction)
		}
	}
	return share
}

// say puts a line on the screen and into its "now".
func (e *Engine) say(text string) {
	e.mu.Lock()
	e.now = text
	e.mu.Unlock()
	e.screen.Say("  %5.1fs  %s", time.Since(e.began).Seconds(), text)
}

// do does one thing.
func (e *Engine) do(ctx context.Context, a *Action) error {
	for left := time.Duration(a.After); left > 0; left -= step {
		if err := e.pause(ctx, min(left, step)); err != nil {
			return err
		}
	}
	return a.Verb.do(ctx, e)
}

// operations gives fleet operations, nil while nothing was pushed.
func (e *Engine) operations() *world.Operations {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ops
}

// How long the end of everything that runs may take, and how long when the scenario failed or was interrupted.
const closeWait, abortWait = time.Minute, 3 * time.Second

// close ends everything. What has failed already is worth more than what fails then.
func (e *Engine) close(failed error) error {
	wait := closeWait
	if failed != nil {
		wait = abortWait
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var err error
	if ops := e.operations(); ops != nil {
		err = ops.Close(ctx)
	}
	if err = errors.Join(err, e.world.Close(ctx)); failed != nil {
		return failed
	}
	return err
}
