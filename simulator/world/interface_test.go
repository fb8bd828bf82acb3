package world_test

import (
	"maps"
	"strings"
	"testing"

	"telltale.dev/simulator/world"
)

func TestInterfaces(t *testing.T) {
	buses := []string{"can0", "can1"}
	tests := []struct {
		name  string
		given []string
		want  map[string]string
		err   string
	}{
		{"none", nil, map[string]string{}, ""},
		{"the first bus", []string{"vcan0"}, map[string]string{"can0": "vcan0"}, ""},
		{"in order", []string{"vcan0", "vcan1"}, map[string]string{"can0": "vcan0", "can1": "vcan1"}, ""},
		{"by name", []string{"can1=vcan0"}, map[string]string{"can1": "vcan0"}, ""},
		{"too many", []string{"vcan0", "vcan1", "vcan2"}, nil, "--can vcan2: expected at most 2, since there are the buses can0, can1"},
		{"unknown bus", []string{"can2=vcan0"}, nil, "--can can2=vcan0: expected one of the buses can0, can1"},
		{"a bus twice", []string{"vcan0", "can0=vcan1"}, nil, "bus can0 has the interface vcan0 already"},
		{"an interface twice", []string{"vcan0", "vcan0"}, nil, "bus can0 has this interface already"},
		{"no interface", []string{"can0="}, nil, "expected the name of a CAN interface"},
		{"a URL", []string{"can0=virtual://127.0.0.1:1/can0"}, nil, "expected the name of a CAN interface"},
	}
	for _, c := range tests {
		got, err := world.Interfaces(c.given, buses)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}
