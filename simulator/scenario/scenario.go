// Package scenario reads scenario files and plays them: a timeline of what
// happens to vehicles, links and the cloud, and of what must be true.
//
// The same files are demonstration and test. What the verbs do is the business
// of package world; here is when, and whether it was as expected.
//
// A vehicle has one device, or several:
//
//	vehicles:
//	  - {name: bert, devices: [tcu], bus: {can0: {dbc: [car.dbc]}}, campaign: slow.yaml}
//	  - name: anna
//	    devices:                   # at most 32, with names of their own
//	      - name: tcu-a
//	        bus: {can0: {dbc: [car.dbc]}}
//	        campaign: slow.yaml    # left out: every sample of every signal
//	        settings: {keep-alive: 2s, buffer: 8MiB}
//	      - name: adas-b           # sees every frame on can0, too
//	        bus: {can0: {}, can1: {dbc: [adas.dbc]}}
//
// What happens to a device (link, power) names it: anna/tcu-a, or bert, which has only one. What
// happens on the buses (drive), and what the cloud keeps of a vehicle as a whole (state-of), names
// the vehicle. Presence and delivery take both: a vehicle is online when one of its devices is, and
// its account is the sum of theirs.
package scenario

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ErrScenario is wrapped by every error about a scenario file.
var ErrScenario = errors.New("invalid scenario")

// Scenario is one file.
type Scenario struct {
	Name     string   `yaml:"scenario"`
	World    World    `yaml:"world"`
	Timeline []Moment `yaml:"timeline"`
	Finally  []Expect `yaml:"finally"`

	// Interfaces puts buses of the only vehicle on CAN interfaces of the kernel; see world.Interfaces.
	Interfaces []string `yaml:"-"`

	dir string // of the file: relative paths start here
}

// World is what exists before the first moment.
type World struct {
	Vehicles []Vehicle `yaml:"vehicles"`
}

// Vehicle is one car and its devices. They are written in one of two forms: the name of the only
// device, whose buses and campaign are then the vehicle's, or a list of devices that each have
// their own. A bus that two devices name is one bus, on which each of them sees every frame.
type Vehicle struct {
	Name     string         `yaml:"name"`
	Devices  []Device       `yaml:"devices"`
	Buses    map[string]Bus `yaml:"bus"`
	Campaign string         `yaml:"campaign"` // file; empty: everything
}

// Bus says how the frames of one bus are to be read.
type Bus struct {
	DBC   []string `yaml:"dbc"`
	J1939 bool     `yaml:"j1939"`
}

// Moment is a point of the timeline.
type Moment struct {
	At     When     `yaml:"at"`
	Say    string   `yaml:"say"` // one line for the screen
	Do     []Action `yaml:"do"`
	Expect []Expect `yaml:"expect"`
}

// When is a point of the timeline: a share of the drive ("30%") or a time since
// the start ("4m"). A share comes when the drive is there and the presences and
// campaigns expected before are as expected, or too late; the drive waits for that.
type When struct {
	Share   float64 // 0 to 1, when ByShare
	Time    time.Duration
	ByShare bool
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (w *When) UnmarshalYAML(n *yaml.Node) error {
	if share, ok := strings.CutSuffix(n.Value, "%"); ok {
		f, err := strconv.ParseFloat(share, 64)
		if err != nil || !(f >= 0 && f <= 100) {
			return fmt.Errorf("line %d: at: expected 0%% to 100%%, found %.32q", n.Line, n.Value)
		}
		*w = When{Share: f / 100, ByShare: true}
		return nil
	}
	var d Duration
	if err := d.UnmarshalYAML(n); err != nil {
		return err
	}
	*w = When{Time: time.Duration(d)}
	return nil
}

// Duration is written like "1.5s".
type Duration time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || v < 0 {
		return fmt.Errorf("line %d: expected a duration such as 1.5s, found %.32q", n.Line, n.Value)
	}
	*d = Duration(v)
	return nil
}

// Instant is a time such as 2025-01-06T08:30:00Z (RFC 3339).
type Instant time.Time

// UnmarshalYAML implements yaml.Unmarshaler.
func (i *Instant) UnmarshalYAML(n *yaml.Node) error {
	t, err := time.Parse(time.RFC3339, n.Value)
	if err != nil || t.Unix() < 0 {
		return fmt.Errorf("line %d: expected a time such as 2025-01-06T08:30:00Z, found %.32q", n.Line, n.Value)
	}
	*i = Instant(t)
	return nil
}

// Path makes a path of the file absolute or relative to the caller.
func (s *Scenario) Path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.dir, p)
}
