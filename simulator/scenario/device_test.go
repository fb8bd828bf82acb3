package scenario_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"telltale.dev/simulator/scenario"
)

// several has a car with two devices, and one whose only device is written in the same form.
const several = `scenario: trip
world:
  vehicles:
    - name: anna
      devices:
        - name: tcu-a
          bus: {can0: {dbc: [car.dbc]}}
          campaign: slow.yaml
        - name: ivi_b
          bus: {can0: {}, can1: {j1939: true}}
          settings: {keep-alive: 2s, buffer: 1MiB}
    - name: bert
      devices: [{name: tcu-a, bus: {can0: {}}}]
timeline:
  - at: 0%
    do:
      - {drive: anna, log: car.log}
      - {link: anna/ivi_b, state: down}
      - {power: bert, cut: now}
      - {power: bert/tcu-a, on: true}
    expect:
      - {presence: anna, state: online}
      - {presence: anna/tcu-a, state: lost}
      - {state-of: anna, signal: SPEED}
finally:
  - {delivery: anna/ivi_b, lost: 0, duplicated: 0}
  - {delivery: anna, lost: 0, duplicated: 0}
`

func TestLoadDevices(t *testing.T) {
	s, err := scenario.Load(folder(t, several))
	if err != nil {
		t.Fatal(err)
	}
	devices := s.World.Vehicles[0].Devices
	if len(devices) != 2 || devices[0].Campaign != "slow.yaml" || !devices[1].Buses["can1"].J1939 || devices[1].Settings["buffer"] != "1MiB" {
		t.Errorf("got %+v", devices)
	}

	// The name alone means the same as before: buses and campaign of the vehicle are its device's.
	if s, err = scenario.Load(folder(t, strings.Replace(good, "devices: [tcu-a]", "devices: [tcu-a]\n      campaign: slow.yaml", 1))); err != nil {
		t.Fatal(err)
	}
	if d := s.World.Vehicles[0].Devices; len(d) != 1 || d[0].Name != "tcu-a" || d[0].Campaign != "slow.yaml" || d[0].Buses["can0"].DBC[0] != "car.dbc" {
		t.Errorf("got %+v", d)
	}

	// What several devices share can be written once.
	merged := strings.Replace(several, "        - name: tcu-a\n", "        - &base\n          name: tcu-a\n", 1)
	merged = strings.Replace(merged, "          bus: {can0: {}, can1: {j1939: true}}\n", "          <<: *base\n", 1)
	if s, err = scenario.Load(folder(t, merged)); err != nil {
		t.Fatal(err)
	}
	if d := s.World.Vehicles[0].Devices[1]; d.Name != "ivi_b" || d.Buses["can0"].DBC[0] != "car.dbc" {
		t.Errorf("got %+v", d)
	}
}

func TestLoadRefusesDevices(t *testing.T) {
	many := func(n int) string {
		var list strings.Builder
		for i := range n {
			fmt.Fprintf(&list, "        - {name: d%d, bus: {can0: {}}}\n", i)
		}
		return list.String()
	}
	const first, second = "        - name: tcu-a\n          bus: {can0: {dbc: [car.dbc]}}\n          campaign: slow.yaml\n", "        - name: ivi_b\n"
	for _, c := range []struct {
		name     string
		old, new string // the change to the good one
		want     string // behind the file's name
	}{
		{"a name twice", "name: ivi_b", "name: tcu-a", ":9: world.vehicles[0].devices[1].name: expected a name of its own"},
		{"a name that differs in capitals only", "name: ivi_b", "name: TCU-A", ":9: world.vehicles[0].devices[1].name: expected a name of its own"},
		{"no name", second, "        -\n", ":10: world.vehicles[0].devices[1]"},
		{"an empty name", "name: ivi_b", "name: ''", ":9: world.vehicles[0].devices[1].name: device id is empty"},
		{"a name with a blank", "name: ivi_b", "name: ivi b", ":9: world.vehicles[0].devices[1].name: "},
		{"a name that is a path", "name: ivi_b", "name: ../ivi", ":9: world.vehicles[0].devices[1].name: "},
		{"a name like a reference", "name: ivi_b", "name: anna/ivi", ":9: world.vehicles[0].devices[1].name: "},
		{"a wildcard", "name: ivi_b", "name: '+'", ":9: world.vehicles[0].devices[1].name: "},
		{"a letter beyond ASCII", "name: ivi_b", "name: tür", ":9: world.vehicles[0].devices[1].name: "},
		{"a name that begins with a hyphen", "name: ivi_b", "name: -ivi", ":9: world.vehicles[0].devices[1].name: "},
		{"a long name", "name: ivi_b", "name: " + strings.Repeat("i", 65), ":9: world.vehicles[0].devices[1].name: "},
		{"a device without a bus", "          bus: {can0: {}, can1: {j1939: true}}\n", "", ":9: world.vehicles[0].devices[1].bus: expected at least one bus"},
		{"an empty list of buses", "bus: {can0: {}, can1: {j1939: true}}", "bus: {}", ":10: world.vehicles[0].devices[1].bus: expected at least one bus"},
		{"a bus of no name", "can1: {j1939", "'': {j1939", ":10: world.vehicles[0].devices[1].bus.: expected a name of letters"},
		{"a bus with an odd name", "can1: {j1939", "'a=b': {j1939", ":10: world.vehicles[0].devices[1].bus.a=b: expected a name of letters"},
		{"no such DBC", "car.dbc", "cra.dbc", ":7: world.vehicles[0].devices[0].bus.can0.dbc[0]: "},
		{"no such campaign", "campaign: slow", "campaign: solw", ":8: world.vehicles[0].devices[0].campaign: "},
		{"both forms: a bus of the vehicle", "      devices:\n        -", "      bus: {can0: {}}\n      devices:\n        -", ":5: world.vehicles[0].bus: expected it in each of devices"},
		{"both forms: a campaign of the vehicle", "      devices:\n        -", "      campaign: slow.yaml\n      devices:\n        -", ":5: world.vehicles[0].campaign: expected it in each of devices"},
		{"both forms: a bare name beside a device", second, "        - tcu-c\n" + second, ":6: world.vehicles[0].devices: expected one device, or of each of several"},
		{"no device", "devices: [{name: tcu-a, bus: {can0: {}}}]", "devices: []", ":13: world.vehicles[1].devices: expected at least one device"},
		{"33 devices", first + second, many(31) + second + "          bus: {can0: {}}\n        - name: x\n", ":39: world.vehicles[0].devices[32]: expected at most 32 devices"},
		{"a key nobody knows", "          campaign: slow", "          campagin: slow", ":8: unknown field campagin"},
		{"a key of a bus that nobody knows", "{j1939: true}", "{j1938: true}", ":10: unknown field j1938"},
		{"a merged key that nobody knows", "          campaign: slow.yaml\n", "          <<: {campagin: slow.yaml}\n", ":8: unknown field campagin"},
		{"a list where a device is", second, "        - [ivi]\n" + second, ":9: expected another kind of value"},
		{"a setting nobody knows", "buffer: 1MiB", "data: /", ":11: world.vehicles[0].devices[1].settings.data: expected one of backoff-max"},
		{"a setting that is no duration", "keep-alive: 2s", "keep-alive: 2", ":11: world.vehicles[0].devices[1].settings.keep-alive: expected a duration"},
		{"a setting that is no size", "1MiB", "much", ":11: world.vehicles[0].devices[1].settings.buffer: "},
		{"a folder that is another's", "name: bert", "name: anna-ivi_b", ":13: world.vehicles[1].devices[0]: expected another name: the folder of its data would be that of anna/ivi_b"},
		{"which device has the link", "link: anna/ivi_b", "link: anna", ":18: timeline[0].do[1]: anna has 2 devices: expected anna/tcu-a or anna/ivi_b"},
		{"which device has the power", "power: bert, cut", "power: anna, cut", ":19: timeline[0].do[2]: anna has 2 devices: expected anna/tcu-a or anna/ivi_b"},
		{"an unknown device", "link: anna/ivi_b", "link: anna/ivi", `:18: timeline[0].do[1]: "ivi" is no device of anna: expected anna/tcu-a or anna/ivi_b`},
		{"an empty device", "link: anna/ivi_b", "link: anna/", `:18: timeline[0].do[1]: "" is no device of anna`},
		{"an unknown device of a vehicle with one", "power: bert/tcu-a", "power: bert/x", `:20: timeline[0].do[3]: "x" is no device of bert: expected bert/tcu-a`},
		{"an unknown vehicle", "link: anna/ivi_b", "link: /ivi_b", `:18: timeline[0].do[1]: "" is no vehicle`},
		{"a device of a device", "link: anna/ivi_b", "link: anna/ivi_b/x", `:18: timeline[0].do[1]: "ivi_b/x" is no device of anna`},
		{"a drive of one device", "drive: anna", "drive: anna/tcu-a", ":17: timeline[0].do[0]: anna/tcu-a is one device: expected its vehicle, anna"},
		{"a state of one device", "state-of: anna", "state-of: anna/tcu-a", ":24: timeline[0].expect[2]: anna/tcu-a is one device: expected its vehicle, anna"},
		{"a presence of an unknown device", "presence: anna/tcu-a", "presence: anna/x", `:23: timeline[0].expect[1]: "x" is no device of anna`},
		{"a delivery of an unknown device", "delivery: anna/ivi_b", "delivery: anna/x", `:26: finally[0]: "x" is no device of anna`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(several, c.old) {
				t.Fatalf("%q is not in the good scenario", c.old)
			}
			path := folder(t, strings.Replace(several, c.old, c.new, 1))
			_, err := scenario.Load(path)
			if !errors.Is(err, scenario.ErrScenario) || !strings.HasPrefix(err.Error(), path+c.want) {
				t.Errorf("got %v, want %s%s", err, path, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line", err)
			}
		})
	}
	full := strings.Replace(several, first+second+"          bus: {can0: {}, can1: {j1939: true}}\n          settings: {keep-alive: 2s, buffer: 1MiB}\n", many(32), 1)
	full = full[:strings.Index(full, "timeline:")] + "timeline: []\n"
	if _, err := scenario.Load(folder(t, full)); err != nil {
		t.Errorf("got %v, want 32 devices to be taken", err)
	}
}
