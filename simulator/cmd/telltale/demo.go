package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/scenario"
)

// recording are the flags that say what to drive.
type recording struct {
	DBC   []string `name:"dbc" sep:"none" placeholder:"[NAME=]FILE" help:"A DBC file for a bus; without NAME for the only bus of the log. May be repeated."`
	J1939 []string `name:"j1939" placeholder:"NAME" help:"A bus whose frames are matched by PGN. May be repeated."`
	Start string   `placeholder:"TIME" help:"When the first frame of the log was recorded, such as 2025-01-06T08:30:00Z. Default: what the log says."`
}

type demoCommand struct {
	playing
	recording
	Log    string  `required:"" placeholder:"FILE" help:"A log of candump, Vector ASC, PEAK TRC or SavvyCAN CSV, plain or zstd."`
	Speed  float64 `placeholder:"N" help:"Times the recorded speed. Default: the log in 60 s."`
	Faults string  `enum:"none,tunnel,power,cloud,all" default:"all" help:"none, tunnel, power, cloud or all."`
}

// Run drives the log as one vehicle.
func (c *demoCommand) Run(ctx context.Context) error {
	options, err := c.options()
	if err != nil {
		return err
	}
	buses, err := c.of(ctx, c.Log)
	if err != nil {
		return err
	}
	if c.Speed != 0 {
		if err := checkSpeed(c.Speed); err != nil {
			return err
		}
	}
	if err := c.check(ctx, options, buses); err != nil {
		return err
	}
	s := scenario.Demo(scenario.DemoConfig{Log: c.Log, Buses: buses, Start: options.Start, Speed: c.Speed, Faults: c.Faults})
	return c.play(ctx, s)
}

// options says how to read the log.
func (c *recording) options() (drive.Options, error) {
	if c.Start == "" {
		return drive.Options{}, nil
	}
	start, ok := drive.ParseDate(c.Start)
	if !ok {
		return drive.Options{}, fmt.Errorf("--start %s: expected a time such as 2025-01-06T08:30:00Z", c.Start)
	}
	return drive.Options{Start: start}, nil
}

// bare says whether a DBC file is given without the name of its bus.
func (c *recording) bare() bool {
	return slices.ContainsFunc(c.DBC, func(arg string) bool { return !strings.Contains(arg, "=") })
}

// of reads the flags into buses of a scenario; it looks through the log when a DBC file is for its only bus.
func (c *recording) of(ctx context.Context, path string) (map[string]scenario.Bus, error) {
	if !c.bare() || path == "" {
		return c.buses()
	}
	options, err := c.options()
	if err != nil {
		return nil, err
	}
	log, err := options.Scan(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("--dbc %s: expected NAME=FILE, or a log with one bus: %w", strings.Join(c.DBC, " "), err)
	}
	return c.buses(log.Names()...)
}

// buses reads the flags into buses of a scenario; names are those of the log.
func (c *recording) buses(names ...string) (map[string]scenario.Bus, error) {
	buses := map[string]scenario.Bus{}
	for _, arg := range c.DBC {
		name, file, ok := strings.Cut(arg, "=")
		if !ok && len(names) == 1 {
			name, file, ok = names[0], arg, true
		}
		if !ok && len(names) > 1 {
			return nil, fmt.Errorf("--dbc %s: the log has the buses %s: expected NAME=FILE, such as %s=car.dbc", arg, strings.Join(names, ", "), names[0])
		}
		if !ok || name == "" || file == "" {
			return nil, fmt.Errorf("--dbc %s: expected NAME=FILE, such as can0=car.dbc", arg)
		}
		b := buses[name]
		b.DBC = append(b.DBC, file)
		buses[name] = b
	}
	if len(buses) == 0 {
		return nil, fmt.Errorf("--dbc: expected at least one NAME=FILE, such as can0=car.dbc")
	}
	for _, name := range c.J1939 {
		b, ok := buses[name]
		if !ok {
			return nil, fmt.Errorf("--j1939 %s: expected a bus that --dbc names", name)
		}
		b.J1939 = true
		buses[name] = b
	}
	return buses, nil
}

// checkSpeed refuses what would never end, or be over before it began.
func checkSpeed(speed float64) error {
	if speed >= slowest && speed <= fastest {
		return nil
	}
	return fmt.Errorf("--speed: expected %v to %v times the recorded speed", slowest, fastest)
}

// What --speed may be.
const slowest, fastest = 0.001, 100_000

// sources parses the DBC files; what is left out of them is said on standard error.
func sources(buses map[string]scenario.Bus) ([]dbc.Source, error) {
	var list []dbc.Source
	for _, name := range scenario.BusNames(buses) {
		source := dbc.Source{Bus: name, J1939: buses[name].J1939}
		for _, file := range buses[name].DBC {
			text, err := scenario.ReadDBC(file)
			if err != nil {
				return nil, fmt.Errorf("--dbc: %w", err)
			}
			parsed, problems, err := dbc.Parse(file, text)
			if err != nil {
				return nil, err
			}
			skipped := slices.DeleteFunc(problems, func(p dbc.Problem) bool { return !p.Skipped })
			warn(skipped, len(skipped), "statements skipped; telltale dbc check "+quote(file)+" lists them")
			source.Files = append(source.Files, parsed)
		}
		list = append(list, source)
	}
	return list, nil
}

// warnings is how many problems of one file are written out.
const warnings = 3

// warn writes the first problems to standard error, and how many there are in all.
func warn[T fmt.Stringer](problems []T, all int, what string) {
	for _, p := range problems[:min(len(problems), warnings)] {
		fmt.Fprintln(os.Stderr, p)
	}
	if all > warnings {
		fmt.Fprintf(os.Stderr, "%d %s\n", all, what)
	}
}

// check says which bus or DBC fits better when few identifiers match. A log that would not end is refused.
func (c *demoCommand) check(ctx context.Context, options drive.Options, buses map[string]scenario.Bus) error {
	list, err := sources(buses)
	if err != nil {
		return err
	}
	log, err := options.Scan(ctx, c.Log)
	if err != nil {
		return err
	}
	warn(log.Problems, log.Counts.Bad, "lines could not be read")
	if err := advise(log, list); err != nil {
		return err
	}
	return log.CheckLength(c.Speed)
}

// advise says on standard error which bus or DBC file fits better when few identifiers match.
func advise(log *drive.Log, list []dbc.Source) error {
	coverage, err := drive.Cover(log, list)
	for _, line := range coverage.Advice {
		fmt.Fprintln(os.Stderr, line)
	}
	return err
}
