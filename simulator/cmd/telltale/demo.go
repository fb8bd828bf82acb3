package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/scenario"
)

// recording are the flags that say what to drive.
type recording struct {
	DBC   []string `name:"dbc" sep:"none" placeholder:"NAME=FILE" help:"A DBC file for a bus. May be repeated."`
	J1939 []string `name:"j1939" placeholder:"NAME" help:"A bus whose frames are matched by PGN. May be repeated."`
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
	buses, err := c.buses()
	if err != nil {
		return err
	}
	if c.Speed != 0 {
		if err := checkSpeed(c.Speed); err != nil {
			return err
		}
	}
	if err := c.advise(ctx, buses); err != nil {
		return err
	}
	s := scenario.Demo(scenario.DemoConfig{Log: c.Log, Buses: buses, Speed: c.Speed, Faults: c.Faults})
	return c.play(ctx, s)
}

// buses reads the flags into buses of a scenario.
func (c *recording) buses() (map[string]scenario.Bus, error) {
	buses := map[string]scenario.Bus{}
	for _, arg := range c.DBC {
		name, file, ok := strings.Cut(arg, "=")
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

// longestDrive is how long a log may play. One that would take longer has a wrong time in it, such as a 0 in front.
const longestDrive = 366 * 24 * time.Hour

// checkLength refuses a log that would not end at a speed; 0: it plays for a minute.
func checkLength(log *drive.Log, speed float64) error {
	lasts := float64(log.Duration()) / speed
	if speed == 0 || lasts <= float64(longestDrive) {
		return nil
	}
	day := func(us int64) string { return time.UnixMicro(us).UTC().Format(time.DateOnly) }
	return fmt.Errorf("%s goes from %s to %s and would play for %.0f days: a time in it is wrong, or it needs a higher --speed",
		filepath.Base(log.Path), day(log.First), day(log.Last), lasts/float64(24*time.Hour))
}

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

// advise says which bus or DBC fits better when few identifiers match. A log that would not end is refused.
func (c *demoCommand) advise(ctx context.Context, buses map[string]scenario.Bus) error {
	list, err := sources(buses)
	if err != nil {
		return err
	}
	log, err := drive.Scan(ctx, c.Log)
	if err != nil {
		return err
	}
	warn(log.Problems, log.Counts.Bad, "lines could not be read")
	coverage, err := drive.Cover(log, list)
	for _, line := range coverage.Advice {
		fmt.Fprintln(os.Stderr, line)
	}
	if err != nil {
		return err
	}
	return checkLength(log, c.Speed)
}
