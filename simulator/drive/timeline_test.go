package drive_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/protocol/can"
	"telltale.dev/simulator/drive"
)

// written writes a log and scans it.
func written(t *testing.T, text string) *drive.Log {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return scan(t, path)
}

// steps writes a candump log with frames at times in s.
func steps(times ...float64) string {
	var text strings.Builder
	for i, at := range times {
		fmt.Fprintf(&text, "(%.6f) can0 123#%02X\n", at, i)
	}
	return text.String()
}

// TestClockSetBack: where the log's clock was set back the drive goes on
// without a step, as canplayer does it; frames that stand in another order keep their times.
func TestClockSetBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		times []float64
		want  []float64 // s after the first frame
	}{
		{"a day back in the middle", []float64{1700000000, 1700000001, 1700000002, 1699913600, 1699913601, 1699913602}, []float64{0, 1, 2, 2, 3, 4}},
		{"at once", []float64{1700000000, 1699913600, 1699913601}, []float64{0, 0, 1}},
		{"twice", []float64{1700000010, 1700000011, 1700000000, 1700000001, 1699999000, 1699999001}, []float64{0, 1, 1, 2, 2, 3}},
		{"forward and back", []float64{1700000000, 1700086400, 1700000001, 1700000002}, []float64{0, 86400, 86400, 86401}},
		{"another order", []float64{1700000000.5, 1700000000.4, 1700000001, 1700000000.2, 1700000002}, []float64{0, -0.1, 0.5, -0.3, 1.5}},
	} {
		for _, start := range []time.Time{{}, time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC)} {
			t.Run(c.name, func(t *testing.T) {
				l := written(t, steps(c.times...))
				length := slices.Max(c.want) - slices.Min(c.want)
				if got := l.Duration().Seconds(); got != length {
					t.Errorf("got a duration of %v s, want %v", got, length)
				}
				zero := time.UnixMicro(int64(c.times[0] * 1e6))
				if !start.IsZero() {
					zero = start.Add(time.Duration(-slices.Min(c.want) * float64(time.Second)))
				}
				synctest.Test(t, func(t *testing.T) {
					var got, due []float64
					began := time.Now()
					p := player(t, drive.PlayerConfig{Log: l, Speed: 2, Start: start, Send: func(_ string, frames []can.Frame) error {
						for i := range frames {
							got = append(got, float64(frames[i].Time-zero.UnixMicro())/1e6)
							due = append(due, time.Since(began).Seconds()*2)
						}
						return nil
					}})
					if err := p.Run(t.Context()); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got, c.want) {
						t.Errorf("got times %v, want %v", got, c.want)
					}
					latest := 0.0
					for i, at := range due {
						latest = max(latest, c.want[i]-slices.Min(c.want))
						if at < latest-0.01 || at > latest+0.01 {
							t.Errorf("frame %d came after %v s, want %v", i, at, latest)
						}
					}
					if g := p.Progress(); g.Fraction != 1 || !g.Done {
						t.Errorf("got %+v at the end", g)
					}
				})
			})
		}
	}
}

// TestRemarks: what somebody who plays a log is told of its times.
func TestRemarks(t *testing.T) {
	for _, c := range []struct {
		name, text string
		moved      bool
		want       string
	}{
		{"nothing", steps(1700000000, 1700000001, 1700000002), false, ""},
		{"no date", steps(46408, 46409), false, "x.log has no date: its data will lie in date=1970-01-01; --start 2025-01-06T08:30:00Z says when it was recorded"},
		{"no date, but moved to now", steps(46408, 46409), true, ""},
		{"set back", steps(1700000000, 1700000001, 1699913601, 1699913602), false,
			"x.log: its clock was set back (1 in all; the farthest at 2023-11-14 22:13:21 by 24h0m0s); the drive goes on from there without a step"},
		{"a gap", steps(1700000000, 1700000001, 1700086401, 1700086402), true,
			"x.log has no frame for 24h0m0s from 2023-11-14 22:13:21 on; the drive waits that long, divided by its speed"},
		{"two dates", "date Tue Jun 9 14:02:11 2026\nbase hex  timestamps absolute\nBegin Triggerblock Sun Feb 2 08:30:00 2025\n 0.0 1 2A0 Rx d 1 11\n", true,
			"x.log:3: the times count from the block's date 2025-02-02 08:30:00; the header has another, 2026-06-09 14:02:11"},
	} {
		if got := strings.Join(written(t, c.text).Remarks(c.moved), "\n"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	for _, name := range []string{"canmod1", "truck1", "ev6"} {
		if got := scan(t, recordings+name+".log.zst").Remarks(true); len(got) > 0 {
			t.Errorf("%s: got %q, want nothing", name, got)
		}
	}
}
