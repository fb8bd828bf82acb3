package drive

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/j1939"
)

const (
	// fits is the share of known frames from which on a DBC counts as the right one.
	fits = 0.5
	// clearlyBetter is how much more another DBC must know to be proposed instead.
	clearlyBetter = 0.2
)

// Coverage says how well DBC files fit the buses of a log.
type Coverage struct {
	Buses  []BusCoverage // as in the log
	Advice []string      // what to change on the command line, one line each; empty when all fits
}

// BusCoverage is the share of one bus that its DBC files know.
type BusCoverage struct {
	Bus           string
	Files         []string // base names
	J1939         bool
	Frames, Known uint64 // data frames of the bus, and those whose identifier the files know
}

// Share is Known of Frames, 0 to 1.
func (c BusCoverage) Share() float64 { return share(c.Known, c.Frames) }

func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// candidate is one DBC file, read plainly or as J1939.
type candidate struct {
	file  string
	j1939 bool
	plan  *dbc.Plan
}

// flags gives the options of the command line that use it for a bus.
func (c candidate) flags(bus string) string {
	text := fmt.Sprintf("--dbc %s=%s", bus, c.file)
	if c.j1939 {
		text += " --j1939 " + bus
	}
	return text
}

// known counts the data frames of a bus whose identifier bus 0 of plan has, and those that bring its J1939 messages of
// more than 8 bytes in parts.
func known(plan *dbc.Plan, bus *LogBus) (n uint64) {
	for id, frames := range bus.IDs {
		if plan.Find(0, id) != dbc.Unknown || plan.Long(0) && j1939.Carries(id) {
			n += frames
		}
	}
	return n
}

// Cover compares a log with the DBC files given for its buses. Where few
// identifiers match it looks whether another of the files, another bus or
// J1939 fits better, and says so. The error is one of dbc.Compile.
func Cover(l *Log, sources []dbc.Source) (Coverage, error) {
	c := Coverage{}
	candidates, err := candidates(sources)
	if err != nil {
		return c, err
	}
	for i := range l.Buses {
		bus := &l.Buses[i]
		of := BusCoverage{Bus: bus.Name, Frames: bus.Data}
		given := merge(sources, bus.Name)
		plan, _, err := dbc.Compile([]dbc.Source{given})
		if err != nil {
			return c, err
		}
		of.Known, of.J1939 = known(plan, bus), given.J1939
		for _, f := range given.Files {
			of.Files = append(of.Files, filepath.Base(f.Name))
		}
		c.Buses = append(c.Buses, of)
		if line := advise(of, bus, candidates); line != "" {
			c.Advice = append(c.Advice, line)
		}
	}
	for _, s := range sources {
		if l.bus(s.Bus) == nil {
			c.Advice = append(c.Advice, fmt.Sprintf("%s: the log has no such bus; it has %s", s.Bus, strings.Join(l.Names(), ", ")))
		}
	}
	return c, nil
}

// merge joins all that is given for one bus, which may be nothing.
func merge(sources []dbc.Source, bus string) dbc.Source {
	all := dbc.Source{Bus: bus}
	for _, s := range sources {
		if s.Bus == bus {
			all.Files = append(all.Files, s.Files...)
			all.J1939 = all.J1939 || s.J1939
		}
	}
	return all
}

// candidates compiles each file by itself, plainly and as J1939.
func candidates(sources []dbc.Source) ([]candidate, error) {
	var all []candidate
	seen := map[[32]byte]bool{}
	for _, s := range sources {
		for _, f := range s.Files {
			if seen[f.Hash] {
				continue
			}
			seen[f.Hash] = true
			for _, j1939 := range []bool{false, true} {
				plan, _, err := dbc.Compile([]dbc.Source{{Bus: s.Bus, Files: []*dbc.File{f}, J1939: j1939}})
				if err != nil {
					return nil, err
				}
				all = append(all, candidate{filepath.Base(f.Name), j1939, plan})
			}
		}
	}
	return all, nil
}

// advise gives a line when something else fits a bus clearly better, or nothing fits.
func advise(of BusCoverage, bus *LogBus, candidates []candidate) string {
	if of.Frames == 0 {
		return ""
	}
	best, most := -1, of.Known
	for i, c := range candidates {
		if n := known(c.plan, bus); n > most {
			best, most = i, n
		}
	}
	better := share(most, of.Frames)
	now := "no DBC"
	if len(of.Files) > 0 {
		now = fmt.Sprintf("%s knows %s of its frames", strings.Join(of.Files, " and "), percent(of.Share()))
	}
	switch {
	case best >= 0 && better >= of.Share()+clearlyBetter:
		c := candidates[best]
		how := ""
		if c.j1939 {
			how = " as J1939"
		} else if of.J1939 && slices.Contains(of.Files, c.file) {
			how = " without J1939"
		}
		return fmt.Sprintf("%s: %s; %s%s knows %s: use %s", of.Bus, now, c.file, how, percent(better), c.flags(of.Bus))
	case len(of.Files) > 0 && of.Share() < fits:
		return fmt.Sprintf("%s: %s, and no other of the given files fits better", of.Bus, now)
	}
	return ""
}

// percent rounds, but never up to all or down to nothing.
func percent(share float64) string {
	p := math.Round(share * 100)
	switch {
	case p == 0 && share > 0:
		return "less than 1 %"
	case p == 100 && share < 1:
		return "99 %"
	}
	return fmt.Sprintf("%.0f %%", p)
}
