package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/world"
)

// Bounds of the commit interval, in source time. The longest is the agent's default.
const shortestCommit, longestCommit = 10 * time.Millisecond, 10 * time.Second

// commitInterval is how often the agent commits while it reads the log, in source time.
// By the clock that is every 2 s at least, and 20 times in the drive at least, at
// whatever speed the log is played: a power cut finds a write soon, and costs little.
func commitInterval(log *drive.Log, speed float64) time.Duration {
	interval := min(time.Duration(2*speed*float64(time.Second)), log.Duration()/20)
	return max(shortestCommit, min(interval, longestCommit)).Truncate(time.Millisecond)
}

// prepare scans the logs that a vehicle will drive and compiles what its buses
// mean. The vehicle gets every bus of its logs, also those without a DBC file:
// their frames count as unknown.
func (e *Engine) prepare(ctx context.Context, def Vehicle) (*car, world.VehicleConfig, error) {
	c := &car{logs: map[string]*drive.Log{}, gate: gate{limit: open}, everything: def.Campaign == ""}
	cfg, err := e.scenario.vehicle(def)
	if err != nil {
		return nil, cfg, err
	}
	for _, m := range e.scenario.Timeline {
		for _, a := range m.Do {
			switch verb := a.Verb.(type) {
			case *Push:
				c.everything = false
			case *Drive:
				if verb.Vehicle != def.Name || c.logs[verb.logKey()] != nil {
					continue
				}
				if err := e.scan(ctx, c, verb, &cfg); err != nil {
					return nil, cfg, err
				}
			}
		}
	}
	if cfg.Interfaces, err = e.scenario.interfaces(cfg.Buses); err != nil {
		return nil, cfg, err
	}
	plan, err := compile(cfg.Buses)
	if err != nil {
		return nil, cfg, err
	}
	c.truth = drive.NewTruth(plan)
	cfg.Tap = c.truth.Add
	return c, cfg, nil
}

// scan looks through the log of a drive, and fits the vehicle's configuration to it.
func (e *Engine) scan(ctx context.Context, c *car, d *Drive, cfg *world.VehicleConfig) error {
	log, err := drive.Options{Start: time.Time(d.Start)}.Scan(ctx, e.scenario.Path(d.Log))
	if err != nil {
		return err
	}
	for _, remark := range log.Remarks(false) {
		e.screen.Say("%s", remark)
	}
	c.logs[d.logKey()] = log
	if interval := commitInterval(log, d.speed(log)); cfg.Commit == 0 || interval < cfg.Commit {
		cfg.Commit = interval
	}
	for _, name := range log.Names() {
		if !slices.ContainsFunc(cfg.Buses, func(b world.Bus) bool { return b.Name == name }) {
			cfg.Buses = append(cfg.Buses, world.Bus{Name: name})
		}
	}
	return nil
}

// interfaces says which buses of the only vehicle are interfaces of the kernel.
func (s *Scenario) interfaces(buses []world.Bus) (map[string]string, error) {
	if len(s.Interfaces) > 0 && len(s.World.Vehicles) > 1 {
		return nil, fmt.Errorf("--can: expected a scenario with one vehicle, found %d", len(s.World.Vehicles))
	}
	var names []string
	for _, b := range buses {
		names = append(names, b.Name)
	}
	return world.Interfaces(s.Interfaces, names)
}

// compile makes the plan that agent and truth share the sources of.
func compile(buses []world.Bus) (*dbc.Plan, error) {
	sources := make([]dbc.Source, len(buses))
	for i, b := range buses {
		sources[i] = dbc.Source{Bus: b.Name, J1939: b.J1939}
		for _, file := range b.DBC {
			text, err := ReadDBC(file)
			if err != nil {
				return nil, fmt.Errorf("dbc: %w", err)
			}
			parsed, _, err := dbc.Parse(file, text)
			if err != nil {
				return nil, err
			}
			sources[i].Files = append(sources[i].Files, parsed)
		}
	}
	plan, _, err := dbc.Compile(sources)
	return plan, err
}

// ReadDBC reads a file for dbc.Parse, and of one that is too large no more than Parse needs to say so.
func ReadDBC(path string) ([]byte, error) { return readFile(path, dbc.MaxText+1) }

// readFile reads the first most bytes of a file.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// watchEvery is how often the screen is redrawn.
const watchEvery = 200 * time.Millisecond

// watch keeps the screen up to date until ctx ends.
func (e *Engine) watch(ctx context.Context) {
	var before uint64
	var rate float64
	for tick := time.NewTicker(watchEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		v := e.view(ctx)
		rate = 0.7*rate + 0.3*float64(v.Frames-before)/watchEvery.Seconds()
		before, v.Rate = v.Frames, rate
		e.screen.Show(v)
	}
}

// view sums up all cars.
func (e *Engine) view(ctx context.Context) View {
	e.mu.Lock()
	v := View{Name: e.scenario.Name, Elapsed: time.Since(e.began), Now: e.now, Powered: true, Presence: "unknown"}
	e.mu.Unlock()
	for _, c := range e.order {
		if d := c.driving.Load(); d != nil {
			v.Share = max(v.Share, d.Progress().Fraction)
			v.Frames += d.Progress().Frames
		}
		s := c.Status()
		for _, start := range c.Starts() {
			v.Samples += start.Committed
		}
		v.Waiting += s.Waiting
		up, _ := c.Link.Bytes()
		v.BytesUp += up
		v.Powered = v.Powered && c.Running()
		if presence, err := e.world.Presence(ctx, c.Vehicle); err == nil {
			v.Presence = presence
		} else if !errors.Is(err, context.Canceled) {
			v.Presence = "cloud is away"
		}
	}
	return v
}
