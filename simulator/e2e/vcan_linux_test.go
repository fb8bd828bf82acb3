package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/simulator/ledger"
)

// vcan makes virtual CAN interfaces of the kernel, or skips where there are none.
func vcan(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := socketcan.AddVirtual(name); err != nil {
			if os.Getenv("TELLTALE_VM") == "1" {
				t.Fatal(err)
			}
			t.Skipf("%v; make demo-vm brings a kernel", err)
		}
		t.Cleanup(func() {
			if err := socketcan.Remove(name); err != nil && !errors.Is(err, unix.ENODEV) {
				t.Error(err)
			}
		})
	}
}

// TestScenarioOnVcan plays the demonstration with the buses in the kernel, as
// a person does. What was sent is what another reader saw on the interfaces,
// and the account is made sample by sample, with the kernel's time stamps.
func TestScenarioOnVcan(t *testing.T) {
	vcan(t, "vcan0", "vcan1")
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs(t), "telltale"), "run", filepath.Join(root, "simulator", "scenarios", "commute.yaml"),
		"--can", "can0=vcan0", "--can", "can1=vcan1", "--json", "--data", filepath.Join(t.TempDir(), "world"))
	var out, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &progress
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, progress.Bytes(), out.Bytes())
	}
	var l ledger.Ledger
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	if l.FramesSent != 98_800 || l.FramesReceived == 0 || l.FramesUnpowered == 0 || l.SamplesStored == 0 || l.Lost+l.Duplicated+l.FramesDropped != 0 {
		t.Errorf("got %+v", l)
	}
	t.Logf("%+v", l)
}
