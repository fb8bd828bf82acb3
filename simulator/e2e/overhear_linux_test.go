package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
)

// overhear notes what is on interfaces, as candump does: classic frames in the order in which they arrive, with the
// kernel's times, under the names of buses. stop gives the log.
func overhear(t *testing.T, names map[string]string) (stop func() (log []byte)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var (
		mu    sync.Mutex // guards log
		log   bytes.Buffer
		ended sync.WaitGroup
	)
	for iface, bus := range names {
		in, err := socketcan.Open(ctx, socketcan.Options{Interface: iface, Buffer: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		ended.Go(func() {
			defer in.Close()
			frames := make([]can.Frame, 256)
			for {
				n, err := in.Receive(ctx, frames)
				mu.Lock()
				for _, f := range frames[:n] {
					fmt.Fprintf(&log, "(%d.%06d) %s %03X#%X\n", f.Time/1e6, f.Time%1e6, bus, f.ID.Number(), f.Payload())
				}
				mu.Unlock()
				if lost := in.Stats().Dropped; err != nil || lost > 0 {
					if ctx.Err() == nil {
						t.Errorf("%s: %v, and %d frames lost", iface, err, lost)
					}
					return
				}
			}
		})
	}
	return func() []byte {
		cancel()
		ended.Wait()
		return log.Bytes()
	}
}

// decoded gives the samples of each signal in the order of the log, with times in µs.
func decoded(t *testing.T, decode *exec.Cmd, log []byte) map[signal][]sample {
	t.Helper()
	var problems bytes.Buffer
	decode.Stdin, decode.Stderr = bytes.NewReader(log), &problems
	out, err := decode.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, problems.Bytes())
	}
	found := map[signal][]sample{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		f := strings.Split(lines.Text(), "\t") // frame, time, bus, message, signal, raw, value, unit
		at, err := time.Parse(time.RFC3339Nano, f[1])
		if err != nil {
			t.Fatal(err)
		}
		raw, err := strconv.ParseInt(f[5], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		name := signal{f[2], f[3], f[4]}
		found[name] = append(found[name], sample{time: at.UnixMicro(), raw: raw})
	}
	return found
}

// compareTimes holds the rows of a lake against what was overheard: the same values at the same times, cut to the ms, and those of
// one ms in the order of arrival.
func compareTimes(t *testing.T, lake, heard map[signal][]sample) {
	t.Helper()
	for name, want := range heard {
		got, back := slices.Clone(lake[name]), 0
		for i := range want {
			if i > 0 && want[i].time < want[i-1].time {
				back++
			}
		}
		for i := range want {
			want[i].time -= want[i].time % 1000
		}
		slices.SortStableFunc(got, inOrder)
		slices.SortStableFunc(want, inOrder)
		same := func(i int) bool { return got[i].time == want[i].time && got[i].raw == want[i].raw }
		if len(got) != len(want) {
			t.Errorf("%v: got %d samples, want %d", name, len(got), len(want))
			continue
		}
		for i := range got {
			if !same(i) {
				around := func(s []sample) []sample { return s[max(0, i-3):min(len(s), i+4)] }
				t.Errorf("%v: sample %d of %d: the lake has {time boot seq raw}\n%v\nthe bus had (its times went back %d times)\n%v", name, i, len(got), around(got), back, around(want))
				break
			}
		}
	}
}

// heardLine decodes what was overheard with the DBC files of demoLine.
const heardLine = "bin/telltale decode - --time" +
	" --dbc can0=simulator/recordings/toyota_new_mc_pt.dbc --dbc can1=simulator/recordings/toyota_adas.dbc"

// TestEverySampleOnVcan: the Parquet files hold exactly the samples that an independent decoder found in the
// log, with the times that every reader of the interfaces got from the kernel. Times are the order of the lake, so the order of
// the log is held against that of arrival: a kernel whose times go back is told from an agent that mixes up rows.
func TestEverySampleOnVcan(t *testing.T) {
	vcan(t, "vcan0", "vcan1")
	want, total := goldenSignals(t, "rav4")
	cmd := command(t, demoLine+" --log simulator/recordings/rav4.log.zst --speed 8")
	stop := overhear(t, map[string]string{"vcan0": "can0", "vcan1": "can1"})
	if l := account(t, cmd); l.FramesSent != recordedFrames || l.FramesReceived != recordedFrames || l.SamplesStored != uint64(total) {
		t.Errorf("got %+v, want all frames received and %d samples stored", l, total)
	}
	heard := decoded(t, command(t, heardLine), stop())
	compareOrder(t, heard, want)
	compareTimes(t, ownReader(t, filepath.Join(cmd.Dir, "world", "cloud", "lake")), heard)
}
