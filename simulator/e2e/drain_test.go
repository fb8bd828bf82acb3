package e2e_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"telltale.dev/protocol/can"
	"telltale.dev/simulator/world"
)

// TestDrain: frames of the last moment before the agent is stopped are received, not only handed over.
func TestDrain(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes for some seconds")
	}
	t.Parallel()
	w, err := world.New(world.Config{Dir: filepath.Join(t.TempDir(), "data"), Programs: programs(t), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(t.Context())
	if err := w.StartCloud(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := w.AddDevice(t.Context(), world.VehicleConfig{Name: "anna"}, world.DeviceConfig{
		Name:  "tcu-a",
		Buses: []world.Bus{{Name: "can0", DBC: []string{filepath.Join(recordings, "toyota_new_mc_pt.dbc")}}, {Name: "can1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	const burst = 99
	for round := range uint64(5) {
		for _, bus := range []string{"can0", "can1"} {
			v.Hub.Bus(bus).Send(make([]can.Frame, burst))
		}
		began := time.Now()
		if err := v.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, bus := range []string{"can0", "can1"} {
			if got, want := v.Starts()[0].Buses[bus].Received, (round+1)*burst; got != want {
				t.Errorf("%s: got %d frames after %v, want %d", bus, got, time.Since(began), want)
			}
		}
	}
}
