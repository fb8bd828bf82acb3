package rig_test

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestPowerCuts cuts power at random moments of updates. After each cut the
// device must start, say what runs on it, and bring the update to a true end.
func TestPowerCuts(t *testing.T) {
	shared := newBench(t)
	b := newBoard(t, shared)
	files := map[string]string{
		"1.1.0": shared.variant(t, "1.1.0", goodRelease, nil).Update,
		"1.2.0": shared.variant(t, "1.2.0", goodRelease+1, nil).Update,
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	b.on()
	b.online(60 * time.Second)
	running, slot := "1.0.0", "A"
	for i := range cuts(t) {
		wanted := "1.1.0"
		if running == wanted {
			wanted = "1.2.0"
		}
		if err := b.start(files[wanted], "--allow-downgrade"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		wait := time.Duration(random.Int64N(int64(cutWithin)))
		time.Sleep(wait)
		stood := "nothing"
		if f, err := b.firmware(); err == nil && f.Update != nil {
			stood = f.Update.State
		}
		b.PowerCut()
		b.on()
		u := b.ends(4 * time.Minute)
		switch u.State {
		case "CONFIRMED":
			running, slot = wanted, other(slot)
		case "FAILED", "ROLLED_BACK":
		default:
			t.Fatalf("cut %d after %v in %s: ended %s %s (%s)", i, wait, stood, u.State, u.Reason, u.Detail)
		}
		b.runs(60*time.Second, running, slot)
		t.Logf("cut %d after %6.2f s in %-11s: %s after %.1f s; runs %s from %s", i, wait.Seconds(), stood, u.State, time.Since(began).Seconds(), running, slot)
	}
}

// cutWithin is how long a good update takes, roughly.
const cutWithin = 20 * time.Second

func other(slot string) string {
	if slot == "A" {
		return "B"
	}
	return "A"
}
