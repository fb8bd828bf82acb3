package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"telltale.dev/simulator/ledger"
)

// drive runs a scenario and gives its data folder and its ledger.
func drive(t *testing.T, file string) (data string, l ledger.Ledger) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	cmd := exec.CommandContext(t.Context(), "telltale", "run", file, "--data", data, "--json")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &l)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	return data, l
}

// lakeRows counts the rows of the lake by device, and by device and bus.
func lakeRows(t *testing.T, data string) (devices map[string]uint64, buses map[[2]string]uint64) {
	t.Helper()
	devices, buses = map[string]uint64{}, map[[2]string]uint64{}
	if err := ledger.ScanLake(filepath.Join(data, "cloud", "lake"), func(_ string, r *ledger.Row) error {
		devices[r.DID]++
		buses[[2]string{r.DID, r.Bus}]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return devices, buses
}

// TestTwoDevices plays the scenario of two devices in one car: what it expects on the way holds, each device's
// samples are those of its own bus, and in the lake they add up to those of the car.
func TestTwoDevices(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	data, l := drive(t, "../../scenarios/two-devices.yaml")
	tcu, adas := l.Devices["tcu-a"], l.Devices["adas-b"]
	if len(l.Devices) != 2 || tcu == nil || adas == nil {
		t.Fatalf("got the devices %v, want tcu-a and adas-b", l.Devices)
	}
	if tcu.FramesUnpowered == 0 || adas.FramesUnpowered != 0 || tcu.FramesSent == 0 || adas.FramesSent == 0 {
		t.Errorf("got %d of %d frames unpowered of tcu-a and %d of %d of adas-b, want some of the first only",
			tcu.FramesUnpowered, tcu.FramesSent, adas.FramesUnpowered, adas.FramesSent)
	}
	if l.FramesSent != tcu.FramesSent+adas.FramesSent || l.SamplesStored != tcu.SamplesStored+adas.SamplesStored || l.SamplesStored != l.SamplesCollected || l.Lost+l.Duplicated != 0 {
		t.Errorf("got %+v, want the sum of %+v and %+v", l, tcu, adas)
	}
	devices, buses := lakeRows(t, data)
	if len(devices) != 2 || devices["tcu-a"] != tcu.SamplesStored || devices["adas-b"] != adas.SamplesStored {
		t.Errorf("the lake has rows of %v, want %d and %d", devices, tcu.SamplesStored, adas.SamplesStored)
	}
	if buses[[2]string{"tcu-a", "can0"}] != devices["tcu-a"] || buses[[2]string{"adas-b", "can1"}] != devices["adas-b"] {
		t.Errorf("the lake has rows of %v, want of each device those of its bus", buses)
	}
	for _, name := range []string{"agent-anna-tcu-a", "agent-anna-adas-b", "logs/agent-anna-tcu-a.log", "logs/agent-anna-adas-b.log"} {
		if _, err := os.Stat(filepath.Join(data, name)); err != nil {
			t.Error(err)
		}
	}
}
