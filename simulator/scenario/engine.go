package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/fault"
	"telltale.dev/simulator/world"
)

// Engine plays one scenario in one world.
type Engine struct {
	scenario *Scenario
	world    *world.World
	screen   *Screen
	began    time.Time
	cars     map[string]*car
	ops      *world.Operations
	pending  sync.WaitGroup

	mu     sync.Mutex // guards now and checks
	now    string
	checks []Check
}

// car is a vehicle with its drive.
type car struct {
	*world.Vehicle
	logs       map[string]*drive.Log
	truth      *drive.Truth
	everything bool          // it collects every sample
	before     world.Account // its folder before the drive
	player     *drive.Player // nil until it drives
	driven     chan error    // the player's end
}

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
		return nil, errors.Join(err, e.close())
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
	return result, errors.Join(err, e.close())
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
		if c.Vehicle, err = e.world.AddVehicle(ctx, cfg); err != nil {
			return err
		}
		if c.before, err = c.AccountBefore(ctx); err != nil {
			return err
		}
		if err := c.Start(ctx); err != nil {
			return err
		}
		e.cars[def.Name] = c
	}
	return nil
}

// vehicle turns a vehicle of the file into one of the world.
func (s *Scenario) vehicle(def Vehicle) (world.VehicleConfig, error) {
	cfg := world.VehicleConfig{Vehicle: def.Name, Device: def.Devices[0]}
	if def.Campaign != "" {
		cfg.Campaign = s.Path(def.Campaign)
	}
	for name, bus := range def.Buses {
		b := world.Bus{Name: name, J1939: bus.J1939}
		for _, file := range bus.DBC {
			b.DBC = append(b.DBC, s.Path(file))
		}
		cfg.Buses = append(cfg.Buses, b)
	}
	slices.SortFunc(cfg.Buses, func(a, b world.Bus) int { return strings.Compare(a.Name, b.Name) })
	return cfg, nil
}

// play goes through the timeline, then waits for the drives' ends and for all expectations.
func (e *Engine) play(ctx context.Context) error {
	for i := range e.scenario.Timeline {
		m := &e.scenario.Timeline[i]
		if err := e.await(ctx, m.At); err != nil {
			return err
		}
		if m.Say != "" {
			e.say(m.Say)
		}
		for k := range m.Do {
			if err := e.do(ctx, &m.Do[k]); err != nil {
				return err
			}
		}
		for k := range m.Expect {
			e.pending.Go(func() { e.expect(ctx, &m.Expect[k]) })
		}
	}
	for _, c := range e.cars {
		if c.player == nil {
			continue
		}
		select {
		case err := <-c.driven:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e.pending.Wait()
	return ctx.Err()
}

// step is how often conditions are looked at.
const step = 20 * time.Millisecond

// await waits for a point of the timeline, and notices when the world falls apart meanwhile.
func (e *Engine) await(ctx context.Context, w When) error {
	for {
		if w.ByShare && (w.Share == 0 || e.share() >= w.Share) {
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

// pause waits; a child that ended on its own, or the end of ctx, ends the scenario.
func (e *Engine) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return e.world.Failure()
	}
}

// share is how much of the drive is done: the least of all that drive.
func (e *Engine) share() float64 {
	share := 1.0
	for _, c := range e.cars {
		if c.player != nil {
			share = min(share, c.player.Progress().Fraction)
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
	switch {
	case a.Drive != "":
		return e.drive(ctx, a)
	case a.Link != "":
		return e.link(a)
	case a.Power != "" && a.On:
		e.say(a.Power + ": power is back")
		return e.cars[a.Power].Start(ctx)
	case a.Power != "" && a.Cut == "at-next-write":
		limit, cancel := context.WithTimeout(ctx, longestWrite)
		defer cancel()
		e.cars[a.Power].KillAtNextWrite(limit)
	case a.Power != "":
		e.cars[a.Power].Kill()
	case a.Broker == "kill":
		e.world.KillCloud()
	case a.Broker == "start":
		e.say("the cloud is back")
		return e.world.StartCloud(ctx)
	case a.Push != "":
		return e.push(ctx, a.Push)
	}
	return nil
}

// longestWrite is how long a power cut waits for the agent to write; at slow speeds commits are rare.
const longestWrite = 15 * time.Second

func (e *Engine) link(a *Action) error {
	l := e.cars[a.Link].Link
	up, err := rate(a.Up)
	if err != nil {
		return err
	}
	down, err := rate(a.Down)
	if err != nil {
		return err
	}
	l.Shape(fault.Profile{Delay: time.Duration(a.Delay), Up: up, Down: down})
	switch a.State {
	case "up":
		l.Set(fault.Up)
	case "half-open":
		l.Set(fault.HalfOpen)
	case "down":
		l.Set(fault.Cut)
	}
	return nil
}

func rate(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := protocol.ParseSize(s)
	return int64(n), err
}

// push publishes a campaign as fleet operations.
func (e *Engine) push(ctx context.Context, file string) error {
	doc, err := os.ReadFile(e.scenario.Path(file))
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	parsed, err := codec.ParseCampaign(doc)
	if err != nil {
		return fmt.Errorf("push %s: %w", file, err)
	}
	if e.ops == nil {
		if e.ops, err = e.world.Operations(ctx); err != nil {
			return err
		}
	}
	return e.ops.Push(ctx, parsed.Metadata.ID, doc)
}

// closeWait bounds the end of everything that runs.
const closeWait = time.Minute

func (e *Engine) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	var err error
	if e.ops != nil {
		err = e.ops.Close(ctx)
	}
	return errors.Join(err, e.world.Close(ctx))
}
