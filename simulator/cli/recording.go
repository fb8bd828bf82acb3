package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/scenario"
	"telltale.dev/simulator/shell"
)

// Recording are the flags that say what to drive.
type Recording struct {
	DBC   []string `name:"dbc" sep:"none" placeholder:"[NAME=]FILE" help:"A DBC file for a bus; without NAME for the only bus of the log. May be repeated."`
	J1939 []string `name:"j1939" placeholder:"NAME" help:"A bus whose frames are matched by PGN. May be repeated."`
	Start string   `placeholder:"TIME" help:"When the first frame of the log was recorded, such as 2025-01-06T08:30:00Z. Default: what the log says."`
}

// Options says how to read the log.
func (c *Recording) Options() (drive.Options, error) {
	if c.Start == "" {
		return drive.Options{}, nil
	}
	start, ok := drive.ParseDate(c.Start)
	if !ok {
		return drive.Options{}, fmt.Errorf("--start %s: expected a time such as 2025-01-06T08:30:00Z", c.Start)
	}
	return drive.Options{Start: start}, nil
}

// Bare says whether a DBC file is given without the name of its bus.
func (c *Recording) Bare() bool {
	return slices.ContainsFunc(c.DBC, func(arg string) bool { return !strings.Contains(arg, "=") })
}

// Of reads the flags into buses of a scenario; it looks through the log when a DBC file is for its only bus.
func (c *Recording) Of(ctx context.Context, path string) (map[string]scenario.Bus, error) {
	if !c.Bare() || path == "" {
		return c.Buses()
	}
	options, err := c.Options()
	if err != nil {
		return nil, err
	}
	log, err := options.Scan(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("--dbc %s: expected NAME=FILE, or a log with one bus: %w", strings.Join(c.DBC, " "), err)
	}
	return c.Buses(log.Names()...)
}

// Buses reads the flags into buses of a scenario; names are those of the log.
func (c *Recording) Buses(names ...string) (map[string]scenario.Bus, error) {
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

// CheckSpeed refuses what would never end, or be over before it began.
func CheckSpeed(speed float64) error {
	if speed >= slowest && speed <= fastest {
		return nil
	}
	return fmt.Errorf("--speed: expected %v to %v times the recorded speed", slowest, fastest)
}

// What --speed may be.
const slowest, fastest = 0.001, 100_000

// Sources parses the DBC files; what is left out of them is said on standard error.
func Sources(buses map[string]scenario.Bus) ([]dbc.Source, error) {
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
			Warn(skipped, len(skipped), "statements skipped; telltale dbc check "+shell.Quote(file)+" lists them")
			source.Files = append(source.Files, parsed)
		}
		list = append(list, source)
	}
	return list, nil
}

// warnings is how many problems of one file are written out.
const warnings = 3

// Warn writes the first problems to standard error, and how many there are in all.
func Warn[T fmt.Stringer](problems []T, all int, what string) {
	for _, p := range problems[:min(len(problems), warnings)] {
		fmt.Fprintln(os.Stderr, p)
	}
	if all > warnings {
		fmt.Fprintf(os.Stderr, "%d %s\n", all, what)
	}
}

// Advise says on standard error which bus or DBC file fits better when few identifiers match.
func Advise(log *drive.Log, list []dbc.Source) error {
	coverage, err := drive.Cover(log, list)
	for _, line := range coverage.Advice {
		fmt.Fprintln(os.Stderr, line)
	}
	return err
}
