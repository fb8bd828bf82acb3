package e2e_test

import (
	"os"
	"testing"
	"time"

	"telltale.dev/simulator/world"
)

// TestPowerCuts is the fault loop on file systems that lose, at each cut, all
// that no fsync has put on the medium.
//
// TELLTALE_POWERCUTS is the number of rounds; unset or 0 skips the test.
func TestPowerCuts(t *testing.T) {
	rounds, seed := number(t, "TELLTALE_POWERCUTS", 0), uint64(number(t, "TELLTALE_SEED", int(time.Now().UnixMilli())))
	if rounds == 0 {
		t.Skip("TELLTALE_POWERCUTS is not set: it takes root and some minutes; make system does it")
	}
	t.Logf("TELLTALE_SEED=%d", seed)
	built := programs(t)
	sum := total{began: time.Now()}
	for first := 0; first < rounds && !t.Failed(); first += seriesRounds {
		t.Run("series", func(t *testing.T) {
			powerSeries(t, built, seed, first, min(first+seriesRounds, rounds), &sum)
		})
	}
	t.Log(sum.String())
}

// powerSeries plays rounds on one pair of disks until one fails. The identity
// that a vehicle gets in the factory is put on the medium before the drive; all
// else is the programs' own business.
func powerSeries(t *testing.T, built string, seed uint64, first, end int, sum *total) {
	t.Helper()
	dir := folder(t)
	if _, err := world.New(world.Config{Dir: dir, Programs: built}); err != nil { // the folder is ours from now on
		t.Fatal(err)
	}
	t.Cleanup(func() { // when the disks are gone
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	d := newDisks(t, dir)
	for n := first; n < end; n++ {
		r := &round{plan: newPlan(seed, n, true), dir: dir, programs: built, power: d, built: d.agent.sync}
		l, err := r.play(t.Context())
		if err != nil {
			r.report(t, l, err)
			return
		}
		sum.add(l)
	}
}
