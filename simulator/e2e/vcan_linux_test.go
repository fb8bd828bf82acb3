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

// playOnVcan plays a scenario with its buses in the kernel, as a person does, and gives its account.
func playOnVcan(t *testing.T, name string) (l ledger.Ledger) {
	t.Helper()
	vcan(t, "vcan0", "vcan1")
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs(t), "telltale"), "run", name,
		"--can", "can0=vcan0", "--can", "can1=vcan1", "--json", "--data", filepath.Join(t.TempDir(), "world"))
	var out, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &progress
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, progress.Bytes(), out.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", l)
	if l.FramesSent != 98_800 || l.SamplesStored == 0 || l.Lost+l.Duplicated+l.FramesDropped != 0 {
		t.Errorf("got %+v", l)
	}
	return l
}

// TestScenarioOnVcan plays the demonstration. What was sent is what another
// reader saw on the interfaces, and the account is made sample by sample, with
// the kernel's time stamps.
func TestScenarioOnVcan(t *testing.T) {
	if l := playOnVcan(t, filepath.Join(root, "simulator", "scenarios", "commute.yaml")); l.FramesUnpowered == 0 || l.FramesFiltered != 0 {
		t.Errorf("got %d frames unpowered and %d filtered, want some and none", l.FramesUnpowered, l.FramesFiltered)
	}
}

// TestCampaignNarrowsOnVcan: when fleet operations want the speed only, the
// kernel keeps the other frames away: of the drive's second half the agent sees nothing else.
func TestCampaignNarrowsOnVcan(t *testing.T) {
	l := playOnVcan(t, filepath.Join("testdata", "narrow.yaml"))
	if l.FramesUnpowered != 0 || l.FramesFiltered < l.FramesSent*4/10 || l.FramesReceived+l.FramesFiltered != l.FramesSent {
		t.Errorf("got %d of %d frames received and %d filtered, want about half and half", l.FramesReceived, l.FramesSent, l.FramesFiltered)
	}
}
