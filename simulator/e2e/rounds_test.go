package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telltale.dev/simulator/ledger"
)

// seriesRounds is how many rounds share one folder: buffers, streams and lake grow old together.
const seriesRounds = 10

// TestRounds is the fault loop: agent and cloud are killed, links cut and
// half-opened at random moments, also several at once; everything that the
// agent committed must be in the Parquet files, once.
//
// TELLTALE_ROUNDS is the number of rounds, TELLTALE_SEED repeats a series.
func TestRounds(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes for half a minute")
	}
	rounds, seed := number(t, "TELLTALE_ROUNDS", 2), uint64(number(t, "TELLTALE_SEED", int(time.Now().UnixMilli())))
	built := programs(t)
	t.Logf("TELLTALE_SEED=%d", seed)
	for first := 0; first < rounds; first += seriesRounds {
		t.Run(fmt.Sprintf("from %d", first), func(t *testing.T) {
			t.Parallel()
			sum := total{began: time.Now()}
			dir := folder(t)
			for n := first; n < min(first+seriesRounds, rounds) && !t.Failed(); n++ {
				r := &round{plan: newPlan(seed, n, false), dir: dir, programs: built}
				l, err := r.play(t.Context())
				if err != nil {
					r.report(t, l, err)
					return
				}
				sum.add(l)
			}
			t.Log(sum.String())
			_ = os.RemoveAll(dir)
		})
	}
}

// folder is a new one on a real disk. It stays when the test fails.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "telltale-"+filepath.Base(t.Name())+"-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// total adds up rounds.
type total struct {
	began                                             time.Time
	rounds                                            int
	frames, unpowered, samples, batches, lost, double uint64
}

func (s *total) add(l *ledger.Ledger) {
	s.rounds++
	s.frames += l.FramesSent
	s.unpowered += l.FramesUnpowered
	s.samples += l.SamplesStored
	s.batches += l.BatchesStored
	s.lost += l.Lost
	s.double += l.Duplicated
}

func (s *total) String() string {
	took := time.Since(s.began)
	return fmt.Sprintf("%d rounds in %.0f s (%.1f s each): %s frames, %.0f %% of them unpowered, %s samples in %s batches stored, lost %d, duplicated %d",
		s.rounds, took.Seconds(), took.Seconds()/float64(max(s.rounds, 1)), ledger.Thousands(s.frames),
		100*float64(s.unpowered)/float64(max(s.frames, 1)), ledger.Thousands(s.samples), ledger.Thousands(s.batches), s.lost, s.double)
}
