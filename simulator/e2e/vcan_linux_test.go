package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
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

// recordedFrames is the number of frames in the recording.
const recordedFrames = 98_800

// account runs a command that ends with a ledger as JSON, and gives that. All is
// accounted for: sample by sample, unless the kernel dropped frames or kept some away.
func account(t *testing.T, cmd *exec.Cmd) (l ledger.Ledger) {
	t.Helper()
	var out, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &progress
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, progress.Bytes(), out.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", l)
	if l.SamplesStored == 0 || l.Lost+l.Duplicated != 0 || l.FramesSent != l.FramesReceived+l.FramesUnpowered+l.FramesDropped+l.FramesFiltered {
		t.Errorf("got %+v", l)
	}
	if (l.NumbersOnly == "") != (l.FramesDropped+l.FramesFiltered == 0) {
		t.Errorf("got %d frames dropped and %d filtered, and %q; want every sample compared just when there is none", l.FramesDropped, l.FramesFiltered, l.NumbersOnly)
	}
	return l
}

// TestCampaignNarrowsOnVcan: when fleet operations want the speed only, the
// kernel keeps the other frames away: of the drive's second half the agent sees
// nothing else but what its receive buffers hold already, at most 10,000 frames a bus.
func TestCampaignNarrowsOnVcan(t *testing.T) {
	vcan(t, "vcan0", "vcan1")
	l := account(t, command(t, "bin/telltale run simulator/e2e/testdata/narrow.yaml --can can0=vcan0 --can can1=vcan1 --json"))
	if l.FramesSent != recordedFrames || l.FramesUnpowered+l.FramesDropped != 0 || l.FramesFiltered < l.FramesSent*3/10 {
		t.Errorf("got %d of %d frames received and %d filtered, want about half and half", l.FramesReceived, l.FramesSent, l.FramesFiltered)
	}
}

// demoLine drives without faults over two interfaces.
const demoLine = "bin/telltale demo --faults none --can vcan0 --can vcan1 --json --data world" +
	" --dbc can0=simulator/recordings/toyota_new_mc_pt.dbc --dbc can1=simulator/recordings/toyota_adas.dbc"

// TestHasteWithoutRootOnVcan: without root the receive buffers hold some 550
// frames, so that the agent may lose frames of a drive in haste. Each is
// counted, and our own reader loses none, else there would be no account.
func TestHasteWithoutRootOnVcan(t *testing.T) {
	const some = 20_000
	cmd := unshared(t, demoLine+" --log short.log --speed 100")
	shorten(t, filepath.Join(recordings, "rav4.log.zst"), filepath.Join(cmd.Dir, "short.log"), some)
	if l := account(t, cmd); l.FramesSent != some || l.FramesFiltered != 0 || l.FramesReceived < some/2 {
		t.Errorf("got %+v, want most of %d frames received and the others counted as dropped", l, some)
	}
}

// shorten writes the first lines of a compressed log.
func shorten(t *testing.T, from, to string, lines int) {
	t.Helper()
	compressed, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	text, err := decoder.DecodeAll(compressed, nil)
	if err != nil {
		t.Fatal(err)
	}
	short := bytes.Join(bytes.SplitAfterN(text, []byte("\n"), lines+1)[:lines], nil)
	if err := os.WriteFile(to, short, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestScenarioOnVcan plays the demonstration as README shows it, without root.
// What was sent is what another reader saw on the interfaces, and the account
// is made with the kernel's time stamps. (A machine that is very busy may let
// the small buffers overflow: then frames are dropped, and counted.)
func TestScenarioOnVcan(t *testing.T) {
	t.Parallel()
	cmd := unshared(t, consoleLine(t, "bin/telltale run simulator/scenarios/commute.yaml ")+" --json")
	if l := account(t, cmd); l.FramesSent != recordedFrames || l.FramesUnpowered == 0 || l.FramesFiltered != 0 {
		t.Errorf("got %d frames sent, %d unpowered and %d filtered, want %d, some and none", l.FramesSent, l.FramesUnpowered, l.FramesFiltered, recordedFrames)
	}
}

// TestScenarioWithOneBusOnVcan: the other bus stays virtual. With root's buffers nothing is dropped.
func TestScenarioWithOneBusOnVcan(t *testing.T) {
	t.Parallel()
	vcan(t, "vcan1")
	l := account(t, command(t, "bin/telltale run simulator/scenarios/commute.yaml --can can0=vcan1 --json"))
	if l.FramesSent != recordedFrames || l.FramesUnpowered == 0 || l.FramesFiltered+l.FramesDropped != 0 {
		t.Errorf("got %+v, want %d frames, of which some were unpowered and none filtered or dropped", l, recordedFrames)
	}
}
