// Package scenario reads scenario files and plays them: a timeline of what
// happens to vehicles, links and the cloud, and of what must be true.
//
// The same files are demonstration and test. What the verbs do is the business
// of package world; here is when, and whether it was as expected.
package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"os"
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
	Seed     uint64   `yaml:"seed"`
	World    World    `yaml:"world"`
	Timeline []Moment `yaml:"timeline"`
	Finally  []Expect `yaml:"finally"`

	dir string // of the file: relative paths start here
}

// World is what exists before the first moment.
type World struct {
	Vehicles []Vehicle `yaml:"vehicles"`
}

// Vehicle is one car with one device so far.
type Vehicle struct {
	Name     string         `yaml:"name"`
	Devices  []string       `yaml:"devices"`
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

// Action does one thing; exactly one of the pointers and names is set.
type Action struct {
	After Duration `yaml:"after"` // waits this long before

	Drive  string   `yaml:"drive"` // vehicle
	Log    string   `yaml:"log"`
	Lasts  Duration `yaml:"lasts"` // plays the log in this time,
	Speed  float64  `yaml:"speed"` // or at this speed; neither: in 60 s
	Link   string   `yaml:"link"`  // vehicle
	State  string   `yaml:"state"` // up, half-open or down
	Delay  Duration `yaml:"delay"`
	Up     string   `yaml:"up"`    // bytes per second, such as 10KiB
	Down   string   `yaml:"down"`  //
	Power  string   `yaml:"power"` // vehicle
	Cut    string   `yaml:"cut"`   // now or at-next-write
	On     bool     `yaml:"on"`
	Broker string   `yaml:"broker"` // kill or start
	Push   string   `yaml:"push"`   // campaign file, by fleet operations over MQTT
}

// Expect is something that must be true within a time.
type Expect struct {
	Within   Duration `yaml:"within"`
	Presence string   `yaml:"presence"` // vehicle
	State    string   `yaml:"state"`
	Delivery string   `yaml:"delivery"` // vehicle
	Lost     *uint64  `yaml:"lost"`
	Dup      *uint64  `yaml:"duplicated"`
	StateOf  string   `yaml:"state-of"` // vehicle
	Signal   string   `yaml:"signal"`
	Campaign string   `yaml:"campaign"` // id
	Status   string   `yaml:"status"`
}

// When is a point of the timeline: a share of the drive ("30%") or a time since the start ("4m").
type When struct {
	Share   float64 // 0 to 1, when ByShare
	Time    time.Duration
	ByShare bool
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (w *When) UnmarshalYAML(n *yaml.Node) error {
	if share, ok := strings.CutSuffix(n.Value, "%"); ok {
		f, err := strconv.ParseFloat(share, 64)
		if err != nil || f < 0 || f > 100 {
			return fmt.Errorf("line %d: at: expected 0%% to 100%%", n.Line)
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
		return fmt.Errorf("line %d: %.32q: expected a duration such as 1.5s", n.Line, n.Value)
	}
	*d = Duration(v)
	return nil
}

// maxFile bounds a scenario file.
const maxFile = 1 << 20

// Load reads a file. The error names the file, the line and what was expected.
func Load(path string) (*Scenario, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: expected at most %d bytes: %w", path, maxFile, ErrScenario)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	s := &Scenario{dir: filepath.Dir(path)}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, err, ErrScenario)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, err, ErrScenario)
	}
	return s, nil
}

// Path makes a path of the file absolute or relative to the caller.
func (s *Scenario) Path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.dir, p)
}

// check finds what a misspelt name would make hang or pass unseen.
func (s *Scenario) check() error {
	names := map[string]bool{}
	for i, v := range s.World.Vehicles {
		if v.Name == "" || names[v.Name] {
			return fmt.Errorf("world.vehicles[%d].name: expected a name of its own", i)
		}
		if len(v.Devices) != 1 {
			return fmt.Errorf("world.vehicles[%d].devices: expected one device", i)
		}
		if len(v.Buses) == 0 {
			return fmt.Errorf("world.vehicles[%d].bus: expected at least one bus", i)
		}
		names[v.Name] = true
	}
	if len(names) == 0 {
		return errors.New("world.vehicles: expected at least one")
	}
	for i, m := range s.Timeline {
		for k, a := range m.Do {
			if err := a.check(names); err != nil {
				return fmt.Errorf("timeline[%d].do[%d]: %w", i, k, err)
			}
		}
		for k, e := range m.Expect {
			if err := e.check(names); err != nil {
				return fmt.Errorf("timeline[%d].expect[%d]: %w", i, k, err)
			}
		}
	}
	for k, e := range s.Finally {
		if err := e.check(names); err != nil {
			return fmt.Errorf("finally[%d]: %w", k, err)
		}
	}
	return nil
}

func (a *Action) check(vehicles map[string]bool) error {
	verbs := 0
	for _, name := range []string{a.Drive, a.Link, a.Power} {
		if name != "" {
			verbs++
			if !vehicles[name] {
				return fmt.Errorf("%q is no vehicle of world.vehicles", name)
			}
		}
	}
	for _, verb := range []string{a.Broker, a.Push} {
		if verb != "" {
			verbs++
		}
	}
	switch {
	case verbs != 1:
		return errors.New("expected exactly one of drive, link, power, broker, push")
	case a.Drive != "" && a.Log == "":
		return errors.New("drive: expected log")
	case a.Link != "" && a.State != "up" && a.State != "half-open" && a.State != "down":
		return errors.New("link: expected state up, half-open or down")
	case a.Power != "" && a.On == (a.Cut != ""):
		return errors.New("power: expected cut or on")
	case a.Cut != "" && a.Cut != "now" && a.Cut != "at-next-write":
		return errors.New("power: expected cut now or at-next-write")
	case a.Broker != "" && a.Broker != "kill" && a.Broker != "start":
		return errors.New("broker: expected kill or start")
	}
	return nil
}

func (e *Expect) check(vehicles map[string]bool) error {
	subjects := 0
	for _, name := range []string{e.Presence, e.Delivery, e.StateOf} {
		if name != "" {
			subjects++
			if !vehicles[name] {
				return fmt.Errorf("%q is no vehicle of world.vehicles", name)
			}
		}
	}
	if e.Campaign != "" {
		subjects++
	}
	switch {
	case subjects != 1:
		return errors.New("expected exactly one of presence, delivery, state-of, campaign")
	case e.Presence != "" && e.State == "":
		return errors.New("presence: expected state")
	case e.StateOf != "" && e.Signal == "":
		return errors.New("state-of: expected signal")
	case e.Delivery != "" && (e.Lost == nil || e.Dup == nil):
		return errors.New("delivery: expected lost and duplicated")
	}
	return nil
}
