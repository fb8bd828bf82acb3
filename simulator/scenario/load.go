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
	for i := range s.World.Vehicles {
		s.World.Vehicles[i].spread()
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

// child gives what is at a key or an index, nil when there is nothing.
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
	if err := s.checkVehicles(); err != nil {
		return err
	}
	share := 0.0
	for i, m := range s.Timeline {
		if m.At.ByShare && m.At.Share < share {
			return misfitAt(errors.New("expected the points of the timeline in their order"), "timeline", i, "at")
		}
		share = max(share, m.At.Share)
		for k, a := range m.Do {
			if a.Verb == nil {
				return misfitAt(verbs.oneOf(), "timeline", i, "do", k)
			}
			if err := a.Verb.check(s); err != nil {
				return misfitAt(err, "timeline", i, "do", k)
			}
		}
		for k, x := range m.Expect {
			if _, ok := x.That.(*Delivery); ok {
				return misfitAt(errors.New("delivery is looked at when everything has stopped: expected it under finally"), "timeline", i, "expect", k)
			}
			if err := x.check(s); err != nil {
				return misfitAt(err, "timeline", i, "expect", k)
			}
		}
	}
	for k, x := range s.Finally {
		if err := x.check(s); err != nil {
			return misfitAt(err, "finally", k)
		}
	}
	return nil
}

func (x *Expect) check(s *Scenario) error {
	if x.That == nil {
		return expectations.oneOf()
	}
	return x.That.check(s)
}

const nameRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

func (s *Scenario) checkVehicles() error {
	var names []string
	for i := range s.World.Vehicles {
		v := &s.World.Vehicles[i]
		where := []any{"world", "vehicles", i}
		if _, err := protocol.ParseVehicleID(v.Name); err != nil {
			return misfitAt(err, append(where, "name")...)
		}
		if slices.Contains(names, v.Name) {
			return misfitAt(errors.New("expected a name of its own"), append(where, "name")...)
		}
		names = append(names, v.Name)
		if err := s.checkDevices(v, where); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return misfitAt(errors.New("expected at least one"), "world", "vehicles")
	}
	return s.checkLabels()
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
