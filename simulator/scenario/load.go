package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"telltale.dev/protocol"
)

// maxFile bounds a scenario file.
const maxFile = 1 << 20

// Load reads a file. The error names the file, the line and what was expected there.
func Load(path string) (*Scenario, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: expected at most %d bytes: %w", path, maxFile, ErrScenario)
	}
	s := &Scenario{dir: filepath.Dir(path)}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil {
		line, expected := explain(err)
		return nil, fmt.Errorf("%s:%d: %s: %w", path, line, expected, ErrScenario)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: expected one YAML document: %w", path, ErrScenario)
	}
	if err := s.check(); err != nil {
		var m *misfit
		if errors.As(err, &m) {
			return nil, fmt.Errorf("%s:%d: %w: %w", path, lineOf(data, m.where), err, ErrScenario)
		}
		return nil, fmt.Errorf("%s: %w: %w", path, err, ErrScenario)
	}
	return s, nil
}

// The forms of the YAML package's errors.
var (
	yamlLine    = regexp.MustCompile(`line (\d+): (.*)`)
	yamlUnknown = regexp.MustCompile(`field (.*) not found in type scenario\.(\w+)`)
	yamlType    = regexp.MustCompile("cannot unmarshal !!(\\w+)(?: `(.*)`)? into .*")
)

// explain makes one line of the first of the YAML package's errors.
func explain(err error) (line int, expected string) {
	if errors.Is(err, io.EOF) {
		return 1, "expected a scenario, found nothing"
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var types *yaml.TypeError
	if errors.As(err, &types) {
		text = types.Errors[0]
	}
	line = 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		_, _ = fmt.Sscan(m[1], &line)
		text = m[2]
	}
	text = yamlUnknown.ReplaceAllString(text, "unknown field $1")
	text = yamlType.ReplaceAllString(text, "expected another kind of value than $1 $2")
	return line, strings.TrimSpace(text)
}

// misfit is something that is not as a scenario should be.
type misfit struct {
	where []any // keys and indices from the root
	err   error
}

func (m *misfit) Error() string {
	var b strings.Builder
	for _, step := range m.where {
		if i, ok := step.(int); ok {
			fmt.Fprintf(&b, "[%d]", i)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, step)
	}
	return b.String() + ": " + m.err.Error()
}

func (m *misfit) Unwrap() error { return m.err }

func misfitAt(err error, where ...any) error {
	if err == nil {
		return nil
	}
	return &misfit{where, err}
}

// lineOf finds the line of a place in the file: as deep as the file goes.
func lineOf(data []byte, where []any) int {
	var root yaml.Node
	if yaml.Unmarshal(data, &root) != nil || len(root.Content) == 0 {
		return 1
	}
	n := root.Content[0]
	for _, step := range where {
		next := child(n, step)
		if next == nil {
			break
		}
		n = next
	}
	return max(n.Line, 1)
}

func child(n *yaml.Node, step any) *yaml.Node {
	if i, ok := step.(int); ok {
		if n.Kind == yaml.SequenceNode && i < len(n.Content) {
			return n.Content[i]
		}
		return nil
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == step {
			return n.Content[i+1]
		}
	}
	return nil
}

// check finds what a misspelt name would make hang or pass unseen.
func (s *Scenario) check() error {
	if strings.Trim(s.Name, nameRunes) != "" || s.Name == "" {
		return misfitAt(errors.New("expected a name of letters, digits and hyphens"), "scenario")
	}
	vehicles, err := s.checkVehicles()
	if err != nil {
		return err
	}
	share := 0.0
	for i, m := range s.Timeline {
		if m.At.ByShare && m.At.Share < share {
			return misfitAt(errors.New("expected the points of the timeline in their order"), "timeline", i, "at")
		}
		share = max(share, m.At.Share)
		for k, a := range m.Do {
			if err := s.checkAction(&a, vehicles); err != nil {
				return misfitAt(err, "timeline", i, "do", k)
			}
		}
		for k, x := range m.Expect {
			if x.Delivery != "" {
				return misfitAt(errors.New("delivery is looked at when everything has stopped: expected it under finally"), "timeline", i, "expect", k)
			}
			if err := x.check(vehicles); err != nil {
				return misfitAt(err, "timeline", i, "expect", k)
			}
		}
	}
	for k, x := range s.Finally {
		if err := x.check(vehicles); err != nil {
			return misfitAt(err, "finally", k)
		}
	}
	return nil
}

const nameRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

// checkVehicles gives the names of the vehicles.
func (s *Scenario) checkVehicles() ([]string, error) {
	var names []string
	for i, v := range s.World.Vehicles {
		where := []any{"world", "vehicles", i}
		if _, err := protocol.ParseVehicleID(v.Name); err != nil {
			return nil, misfitAt(err, append(where, "name")...)
		}
		switch {
		case slices.Contains(names, v.Name):
			return nil, misfitAt(errors.New("expected a name of its own"), append(where, "name")...)
		case len(v.Devices) != 1:
			return nil, misfitAt(errors.New("expected one device"), append(where, "devices")...)
		case len(v.Buses) == 0:
			return nil, misfitAt(errors.New("expected at least one bus"), append(where, "bus")...)
		}
		if _, err := protocol.ParseDeviceID(v.Devices[0]); err != nil {
			return nil, misfitAt(err, append(where, "devices", 0)...)
		}
		names = append(names, v.Name)
		for _, name := range BusNames(v.Buses) {
			for k, file := range v.Buses[name].DBC {
				if err := s.checkFile(file); err != nil {
					return nil, misfitAt(err, append(where, "bus", name, "dbc", k)...)
				}
			}
		}
		if v.Campaign != "" {
			if err := s.checkFile(v.Campaign); err != nil {
				return nil, misfitAt(err, append(where, "campaign")...)
			}
		}
	}
	if len(names) == 0 {
		return nil, misfitAt(errors.New("expected at least one"), "world", "vehicles")
	}
	return names, nil
}

// checkFile says when a file that the scenario names is not there.
func (s *Scenario) checkFile(name string) error {
	info, err := os.Stat(s.Path(name))
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder; expected a file", name)
	case !info.Mode().IsRegular(): // it is read more than once, and a pipe may have no writer
		return fmt.Errorf("%s: expected a regular file", name)
	}
	return nil
}

func (s *Scenario) checkAction(a *Action, vehicles []string) error {
	if err := a.check(vehicles); err != nil {
		return err
	}
	for _, name := range []string{a.Log, a.Push} {
		if name == "" {
			continue
		}
		if err := s.checkFile(name); err != nil {
			return err
		}
	}
	return nil
}

func (a *Action) check(vehicles []string) error {
	if err := one(vehicles, []string{a.Drive, a.Link, a.Power}, "drive, link, power, broker, push", a.Broker, a.Push); err != nil {
		return err
	}
	switch {
	case a.Drive != "":
		return a.checkDrive()
	case a.Link != "":
		return a.checkLink()
	case a.Power != "" && a.On == (a.Cut != ""):
		return errors.New("power: expected cut or on")
	case a.Power != "" && !a.On && a.Cut != "now" && a.Cut != "at-next-write":
		return errors.New("power: expected cut: now or at-next-write")
	case a.Broker != "" && a.Broker != "kill" && a.Broker != "start":
		return errors.New("broker: expected kill or start")
	}
	return nil
}

func (a *Action) checkDrive() error {
	switch {
	case a.Log == "":
		return errors.New("drive: expected log")
	case a.Speed != 0 && a.Lasts != 0:
		return errors.New("drive: expected lasts or speed, not both")
	case a.Speed != 0 && !(a.Speed > 0 && a.Speed < fastest):
		return fmt.Errorf("drive: expected speed above 0 and below %d", fastest)
	}
	return nil
}

// fastest is a speed that no log is played at.
const fastest = 1_000_000

func (a *Action) checkLink() error {
	if !slices.Contains([]string{"up", "half-open", "down"}, a.State) {
		return errors.New("link: expected state: up, half-open or down")
	}
	for _, text := range []string{a.Up, a.Down} {
		if _, err := rate(text); err != nil {
			return fmt.Errorf("link: bytes per second: %w", err)
		}
	}
	return nil
}

// one makes sure that exactly one subject is named, and that it exists when it is a vehicle.
func one(vehicles, named []string, subjects string, others ...string) error {
	n := 0
	for _, name := range named {
		if name != "" && !slices.Contains(vehicles, name) {
			return fmt.Errorf("%q is no vehicle of world.vehicles", name)
		}
	}
	for _, name := range append(others, named...) {
		if name != "" {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("expected exactly one of %s", subjects)
	}
	return nil
}

func (x *Expect) check(vehicles []string) error {
	named := []string{x.Presence, x.Delivery, x.StateOf}
	if err := one(vehicles, named, "presence, delivery, state-of, campaign", x.Campaign); err != nil {
		return err
	}
	switch {
	case x.Presence != "" && !slices.Contains([]string{"online", "offline", "asleep", "lost", "unknown"}, x.State):
		return errors.New("presence: expected state: online, offline, asleep, lost or unknown")
	case x.StateOf != "" && x.Signal == "":
		return errors.New("state-of: expected signal")
	case x.Delivery != "" && (x.Lost == nil || x.Dup == nil):
		return errors.New("delivery: expected lost and duplicated")
	case x.Campaign != "" && x.Status == "":
		return errors.New("campaign: expected status, such as ACTIVE")
	}
	return nil
}
