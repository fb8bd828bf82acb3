package scenario_test

import (
	"testing"
	"time"

	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/scenario"
)

// TestDriven: sums that are right show nothing when the vehicle had no power.
func TestDriven(t *testing.T) {
	for unpowered, good := range map[uint64]bool{0: true, 5428: true, 5429: false, 10856: false} {
		if err := scenario.Driven(&ledger.Ledger{FramesSent: 10856, FramesUnpowered: unpowered}); (err == nil) != good {
			t.Errorf("%d of 10,856 frames unpowered: got %v, want good to be %t", unpowered, err, good)
		}
	}
}

// TestCommitInterval: by the clock a commit comes every 2 s and 20 times in a drive.
func TestCommitInterval(t *testing.T) {
	for _, tt := range []struct {
		lasts time.Duration // of the log
		speed float64
		want  time.Duration // source time
	}{
		{time.Minute, 1, 2 * time.Second},
		{time.Hour, 60, 10 * time.Second},                           // never longer than the agent's default
		{5800 * time.Millisecond, 5.8 / 60, 193 * time.Millisecond}, // stretched to a minute
		{5800 * time.Millisecond, 100, 290 * time.Millisecond},      // over in 58 ms
		{time.Microsecond, 0.001, 10 * time.Millisecond},            // never shorter than that
		{10 * 365 * 24 * time.Hour, 100_000, 10 * time.Second},      // no overflow
	} {
		log := &drive.Log{First: 0, Last: tt.lasts.Microseconds()}
		if got := scenario.CommitInterval(log, tt.speed); got != tt.want {
			t.Errorf("%v at %v times: got %v, want %v", tt.lasts, tt.speed, got, tt.want)
		}
	}
}
