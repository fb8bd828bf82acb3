package world_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/simulator/world"
)

// TestHub wants the virtual buses where only their owner reaches them, unless an address is asked for.
func TestHub(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	short, err := os.MkdirTemp("/tmp", "w")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	long := filepath.Join(short, strings.Repeat("folder/", 16))
	inTheWay := filepath.Join(short, "y")
	for _, c := range []struct {
		name, dir, hub, network string
		made                    os.FileMode // rights of a bus folder that is there before; 0: there is none
		inside                  bool        // the socket is in the data folder
	}{
		{"by default", filepath.Join(short, "x"), "", "unix", 0, true},
		{"in a folder that was open", filepath.Join(short, "z"), "", "unix", 0o777, true},
		{"a long path", long, "", "unix", 0, false},
		{"no folder can be made", inTheWay, "", "unix", 0, false},
		{"asked for", filepath.Join(short, "v"), "127.0.0.1:0", "tcp", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := world.New(world.Config{Dir: c.dir, Programs: programs(t, `[ "$1" = run ] || exit 0; `+serving+"exec sleep 60"), Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(c.dir, "bus")
			if c.made != 0 {
				if err := os.Mkdir(folder, c.made); err != nil {
					t.Fatal(err)
				}
			}
			if c.dir == inTheWay {
				if err := os.WriteFile(folder, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.StartCloud(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer w.KillCloud()
			v, err := w.AddDevice(t.Context(), world.VehicleConfig{Name: "anna", Hub: c.hub}, world.DeviceConfig{Name: "tcu", Buses: []world.Bus{{Name: "can0"}}})
			if err != nil {
				t.Fatal(err)
			}
			a, err := virtual.ParseURL(v.URL("can0"))
			if err != nil || a.Network != c.network || strings.HasPrefix(a.Host, c.dir) != c.inside || w.Ports().Bus != v.URL("can0") {
				t.Fatalf("got %+v, %v", a, err)
			}
			bus, err := virtual.Dial(t.Context(), v.URL("can0"))
			if err != nil {
				t.Fatal(err)
			}
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
			if a.Network == "unix" {
				info, err := os.Stat(filepath.Dir(a.Host))
				if err != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("got %v and %v, want a folder that only its owner may enter", info.Mode(), err)
				}
			}
			w.KillCloud()
			if err := w.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if a.Network == "unix" {
				if _, err := os.Stat(a.Host); err == nil {
					t.Error("the socket is left over")
				}
			}
			if left, err := filepath.Glob(filepath.Join(os.TempDir(), "telltale-bus-*")); err != nil || len(left) > 0 {
				t.Errorf("got %v, %v, want no folder left over", left, err)
			}
		})
	}
}
