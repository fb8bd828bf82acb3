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
	for _, tt := range []struct {
		sent, unpowered uint64
		good            bool
	}{
		{10856, 0, true}, {10856, 5428, true}, {10856, 5429, false}, {10856, 10856, false},
		{5, 3, true}, {99, 99, true}, {100, 51, false},
	} {
		if err := scenario.Driven(&ledger.Ledger{FramesSent: tt.sent, FramesUnpowered: tt.unpowered}); (err == nil) != tt.good {
			t.Errorf("%d of %d frames unpowered: got %v, want good to be %t", tt.unpowered, tt.sent, err, tt.good)
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
