package scenario_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/scenario"
)

const good = `scenario: trip
world:
  vehicles:
    - name: anna
      devices: [tcu-a]
      bus:
        can0: {dbc: [car.dbc]}
timeline:
  - at: 0%
    say: driving
    do: [{drive: anna, log: car.log, lasts: 5s}]
    expect: [{within: 10s, presence: anna, state: online}]
  - at: 20.5%
    do:
      - {link: anna, state: half-open}
      - {after: 1.5s, power: anna, cut: now}
  - at: 4m
    do: [{push: slow.yaml}, {broker: kill}]
    expect: [{within: 2s, campaign: slow, status: ACTIVE}, {state-of: anna, signal: SPEED}]
finally:
  - {within: 30s, delivery: anna, lost: 0, duplicated: 0}
`

// folder has the files that scenarios name, and the scenario itself.
func folder(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"car.dbc": "", "car.log": "", "slow.yaml": "", "trip.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "trip.yaml")
}

func TestLoad(t *testing.T) {
	path := folder(t, good)
	s, err := scenario.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Timeline[1].At, (scenario.When{Share: 0.205, ByShare: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := s.Timeline[2].At, (scenario.When{Time: 4 * time.Minute}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := time.Duration(s.Timeline[1].Do[1].After); got != 1500*time.Millisecond {
		t.Errorf("got %v, want 1.5s", got)
	}
	if got, want := s.Path("car.log"), filepath.Join(filepath.Dir(path), "car.log"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, new string // the change to the good one
		want     string // behind the file's name
	}{
		{"a key nobody knows", "    say: driving", "    sya: driving", ":10: unknown field sya"},
		{"an action nobody knows", "lasts: 5s", "last: 5s", ":11: unknown field last"},
		{"a section nobody knows", "finally:", "clock: {mode: x10}\nfinally:", ":20: unknown field clock"},
		{"no YAML", "timeline:", "timeline: [", ":"},
		{"a list where a map is", "world:\n", "world: [1]\nx:\n", ":2: "},
		{"a text for a number", "lost: 0", "lost: none", ":21: expected another kind of value than str none"},
		{"no name", "scenario: trip", "scenario: ''", ":1: scenario: expected a name"},
		{"a name that is a path", "scenario: trip", "scenario: ../trip", ":1: scenario: expected a name"},
		{"no vehicle", "    - name: anna", "    - name: ''", ":4: world.vehicles[0].name: "},
		{"two devices", "[tcu-a]", "[tcu-a, ivi-a]", ":5: world.vehicles[0].devices: expected one device"},
		{"a device with blanks", "[tcu-a]", "['tcu a']", ":5: world.vehicles[0].devices[0]: "},
		{"no bus", "        can0: {dbc: [car.dbc]}", "        {}", ":7: world.vehicles[0].bus: expected at least one bus"},
		{"no such DBC", "car.dbc", "cra.dbc", ":7: world.vehicles[0].bus.can0.dbc[0]: "},
		{"no such log", "car.log", "cra.log", ":11: timeline[0].do[0]: "},
		{"no such campaign", "push: slow.yaml", "push: solw.yaml", ":18: timeline[2].do[0]: "},
		{"a log that is a folder", "car.log", ".", ":11: timeline[0].do[0]: "},
		{"a log that is no regular file", "car.log", "/dev/null", ":11: timeline[0].do[0]: /dev/null: expected a regular file"},
		{"a DBC that is no regular file", "car.dbc", "/dev/null", ":7: world.vehicles[0].bus.can0.dbc[0]: /dev/null: expected a regular file"},
		{"a share that is none", "20.5%", "120%", `:13: at: expected 0% to 100%, found "120%"`},
		{"a share that is no number", "20.5%", "NaN%", `:13: at: expected 0% to 100%`},
		{"a time without unit", "at: 4m", "at: 4", `:17: expected a duration such as 1.5s, found "4"`},
		{"a negative time", "1.5s", "-1.5s", `:16: expected a duration`},
		{"shares out of order", "at: 0%", "at: 30%", ":13: timeline[1].at: expected the points of the timeline in their order"},
		{"another vehicle", "{link: anna", "{link: bert", `:15: timeline[1].do[0]: "bert" is no vehicle`},
		{"two verbs", "{link: anna", "{drive: anna, link: anna", ":15: timeline[1].do[0]: expected exactly one of drive, link"},
		{"no verb", "{link: anna, state: half-open}", "{state: up}", ":15: timeline[1].do[0]: expected exactly one of"},
		{"a drive of nothing", "log: car.log, ", "", ":11: timeline[0].do[0]: drive: expected log"},
		{"lasts and speed", "lasts: 5s", "lasts: 5s, speed: 3", ":11: timeline[0].do[0]: drive: expected lasts or speed"},
		{"start", "lasts: 5s", "lasts: 5s, start: soon", ":11: expected a time such as 2025-01-06T08:30:00Z, found \"soon\""},
		{"backwards", "lasts: 5s", "speed: -3", ":11: timeline[0].do[0]: drive: expected speed above 0"},
		{"a state of no link", "half-open", "halfopen", ":15: timeline[1].do[0]: link: expected state"},
		{"a rate that is none", "half-open}", "up, up: fast}", ":15: timeline[1].do[0]: link: bytes per second: "},
		{"power neither on nor off", ", cut: now", "", ":16: timeline[1].do[1]: power: expected cut or on"},
		{"power on and off", ", cut: now", ", cut: now, on: true", ":16: timeline[1].do[1]: power: expected cut or on"},
		{"a cut at another time", "cut: now", "cut: later", ":16: timeline[1].do[1]: power: expected cut: now or at-next-write"},
		{"a broker that dances", "broker: kill", "broker: dance", ":18: timeline[2].do[1]: broker: expected kill or start"},
		{"a presence of no state", "state: online", "state: onlien", ":12: timeline[0].expect[0]: presence: expected state"},
		{"nothing expected", "presence: anna, state: online", "state: online", ":12: timeline[0].expect[0]: expected exactly one of presence"},
		{"a campaign without status", ", status: ACTIVE", "", ":19: timeline[2].expect[0]: campaign: expected status"},
		{"a state of no signal", ", signal: SPEED", "", ":19: timeline[2].expect[1]: state-of: expected signal"},
		{"a delivery of anything", ", lost: 0, duplicated: 0", "", ":21: finally[0]: delivery: expected lost and duplicated"},
		{"a delivery on the way", "presence: anna, state: online", "delivery: anna, lost: 0, duplicated: 0", ":12: timeline[0].expect[0]: delivery is looked at when"},
		{"two documents", "finally:", "---\nfinally:", ": expected one YAML document"},
		{"nothing", good, "", ":1: expected a scenario, found nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("%q is not in the good scenario", c.old)
			}
			path := folder(t, strings.Replace(good, c.old, c.new, 1))
			_, err := scenario.Load(path)
			if !errors.Is(err, scenario.ErrScenario) || !strings.HasPrefix(err.Error(), path+c.want) {
				t.Errorf("got %v, want %s%s", err, path, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line", err)
			}
		})
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	if _, err := scenario.Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
	if _, err := scenario.Load(dir); err == nil {
		t.Error("got nil, want an error: it is a folder")
	}
	if _, err := scenario.Load(folder(t, "# "+strings.Repeat("x", 1<<20))); !errors.Is(err, scenario.ErrScenario) {
		t.Errorf("got %v, want %v", err, scenario.ErrScenario)
	}
}

// TestLoadOurs reads the scenarios that come with the program.
func TestLoadOurs(t *testing.T) {
	for _, name := range []string{"commute", "push", "two-devices"} {
		s, err := scenario.Load("../scenarios/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != name {
			t.Errorf("got %s, want %s", s.Name, name)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(good)
	f.Add("scenario: &a [*a]")
	f.Add(several)
	f.Add("scenario: x\nworld: {vehicles: [{name: a, devices: [b], bus: {c: {}}}]}\n")
	dir := f.TempDir()
	path := filepath.Join(dir, "fuzzed.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := scenario.Load(path)
		if err != nil {
			if !strings.HasPrefix(err.Error(), path+":") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line that begins with the file and the line", err)
			}
			return
		}
		if len(s.World.Vehicles) == 0 || s.Name == "" {
			t.Errorf("got %+v, want a name and vehicles", s)
		}
	})
}
