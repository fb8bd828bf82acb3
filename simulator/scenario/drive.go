package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"telltale.dev/protocol/can"
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

// prepare scans the logs that a vehicle will drive and compiles what the buses of
// its devices mean.
func (e *Engine) prepare(ctx context.Context, def Vehicle) (*car, world.VehicleConfig, error) {
	c := &car{logs: map[string]*drive.Log{}, gate: gate{limit: open}}
	cfg := world.VehicleConfig{Name: def.Name, Tap: c.tap}
	for _, d := range def.Devices {
		c.units = append(c.units, &unit{car: c, cfg: e.scenario.device(d), everything: d.Campaign == "" && !e.scenario.pushes()})
	}
	for _, m := range e.scenario.Timeline {
		for _, a := range m.Do {
			verb, ok := a.Verb.(*Drive)
			if !ok || verb.Vehicle != def.Name || c.logs[verb.logKey()] != nil {
				continue
			}
			if err := e.scan(ctx, c, verb); err != nil {
				return nil, cfg, err
			}
		}
	}
	var err error
	if cfg.Interfaces, err = e.scenario.interfaces(c); err != nil {
		return nil, cfg, err
	}
	for _, u := range c.units {
		plan, err := compile(u.cfg.Buses)
		if err != nil {
			return nil, cfg, err
		}
		u.truth = drive.NewTruth(plan)
	}
	return c, cfg, nil
}

// device turns a device of the file into one of the world.
func (s *Scenario) device(def Device) world.DeviceConfig {
	cfg := world.DeviceConfig{Name: def.Name}
	if def.Campaign != "" {
		cfg.Campaign = s.Path(def.Campaign)
	}
	for _, name := range BusNames(def.Buses) {
		b := world.Bus{Name: name, J1939: def.Buses[name].J1939}
		for _, file := range def.Buses[name].DBC {
			b.DBC = append(b.DBC, s.Path(file))
		}
		cfg.Buses = append(cfg.Buses, b)
	}
	for _, name := range slices.Sorted(maps.Keys(def.Settings)) {
		cfg.Flags = append(cfg.Flags, "--"+name+"="+def.Settings[name])
	}
	return cfg
}

// pushes says whether a campaign is pushed on the way, so that nobody collects every sample to the end.
func (s *Scenario) pushes() bool {
	return slices.ContainsFunc(s.Timeline, func(m Moment) bool {
		return slices.ContainsFunc(m.Do, func(a Action) bool { _, ok := a.Verb.(*Push); return ok })
	})
}

// scan looks through the log of a drive, and fits the devices' configurations to it. The only
// device of a vehicle gets every bus of the log, also those without a DBC file: their frames
// count as unknown. Several devices get the buses that they name.
func (e *Engine) scan(ctx context.Context, c *car, d *Drive) error {
	log, err := drive.Options{Start: time.Time(d.Start)}.Scan(ctx, e.scenario.Path(d.Log))
	if err != nil {
		return err
	}
	for _, remark := range log.Remarks(false) {
		e.screen.Say("%s", remark)
	}
	c.logs[d.logKey()] = log
	for _, u := range c.units {
		if interval := commitInterval(log, d.speed(log)); u.cfg.Commit == 0 || interval < u.cfg.Commit {
			u.cfg.Commit = interval
		}
	}
	for _, name := range log.Names() {
		switch {
		case slices.ContainsFunc(c.units, func(u *unit) bool { return u.reads(name) }):
		case len(c.units) == 1:
			c.units[0].cfg.Buses = append(c.units[0].cfg.Buses, world.Bus{Name: name})
		default:
			e.screen.Say("no device of %s reads bus %s of %s", d.Vehicle, name, d.Log)
		}
	}
	return nil
}

// reads says whether the device is attached to a bus.
func (u *unit) reads(bus string) bool {
	return slices.ContainsFunc(u.cfg.Buses, func(b world.Bus) bool { return b.Name == bus })
}

// tap shows each frame on the buses to the devices that must receive it.
func (c *car) tap(bus string, first uint64, frames []can.Frame) {
	for _, u := range c.units {
		if u.reads(bus) {
			u.truth.Add(bus, first, frames)
		}
	}
}

// interfaces says which buses of the only vehicle are interfaces of the kernel.
func (s *Scenario) interfaces(c *car) (map[string]string, error) {
	if len(s.Interfaces) > 0 && len(s.World.Vehicles) > 1 {
		return nil, fmt.Errorf("--can: expected a scenario with one vehicle, found %d", len(s.World.Vehicles))
	}
	var names []string
	for _, u := range c.units {
		for _, b := range u.cfg.Buses {
			if !slices.Contains(names, b.Name) {
				names = append(names, b.Name)
			}
		}
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
	v := View{Name: e.scenario.Name, Elapsed: time.Since(e.began), Now: e.now, Powered: true, Presence: unknownPresence}
	e.mu.Unlock()
	for _, c := range e.order {
		if d := c.driving.Load(); d != nil {
			v.Share = max(v.Share, d.Progress().Fraction)
			v.Frames += d.Progress().Frames
		}
		powered := false
		for _, u := range c.units {
			for _, start := range u.Starts() {
				v.Samples += start.Committed
			}
			v.Waiting += u.Status().Waiting
			up, _ := u.Link.Bytes()
			v.BytesUp += up
			powered = powered || u.Running()
		}
		v.Powered = v.Powered && powered
		if presence, err := e.presence(ctx, c.units); err == nil {
			v.Presence = presence
		} else if !errors.Is(err, context.Canceled) {
			v.Presence = "cloud is away"
		}
	}
	return v
}
