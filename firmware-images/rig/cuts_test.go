package rig_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestPowerCuts cuts power at random moments of updates, once or twice in each.
// After each cut the device must start; the update must come to a true end.
// Two devices share the cuts, each on a core of its own.
func TestPowerCuts(t *testing.T) {
	shared := newBench(t)
	t.Parallel()
	files := map[string]string{
		"1.1.0": must(goodUpdate())(t),
		"1.2.0": shared.variant(t, "1.2.0", goodRelease+1, nil).Update,
	}
	seed, all := uint64(time.Now().UnixNano()), cuts(t)
	t.Logf("seed %d", seed)
	for device := range 2 {
		t.Run(fmt.Sprintf("device %d", device+1), func(t *testing.T) {
			t.Parallel()
			cutPower(t, shared, files, rand.New(rand.NewPCG(seed, uint64(device))), (all+device)/2)
		})
	}
}

// cutPower cuts the power of a device so many times, in updates to files by turns.
func cutPower(t *testing.T, shared *bench, files map[string]string, random *rand.Rand, left int) {
	b := newBoard(t, shared)
	b.on()
	b.online(2 * time.Minute)
	running, slot := "1.0.0", "A"
	for left > 0 {
		wanted := "1.1.0"
		if running == wanted {
			wanted = "1.2.0"
		}
		began := time.Now()
		if err := b.start(files[wanted], "--allow-downgrade"); err != nil {
			t.Fatal(err)
		}
		var story []string
		for range min(left, 1+random.IntN(cutsInOne)) {
			left--
			wait := time.Duration(random.Int64N(int64(cutWithin)))
			time.Sleep(wait)
			story = append(story, fmt.Sprintf("cut after %.1f s in %s", wait.Seconds(), b.stands()))
			b.PowerCut()
			b.on()
		}
		u := b.ends(4 * time.Minute)
		switch u.State {
		case "CONFIRMED":
			running, slot = wanted, other(slot)
		case "FAILED", "ROLLED_BACK":
		default:
			t.Fatalf("%v: ended %s %s (%s)", story, u.State, u.Reason, u.Detail)
		}
		b.runs(60*time.Second, running, slot)
		t.Logf("%s: %s %s after %.0f s; runs %s from %s", strings.Join(story, ", "), u.State, u.Reason, time.Since(began).Seconds(), running, slot)
	}
}

// stands is the state of the update as the cloud knows it.
func (b *board) stands() string {
	f, err := b.firmware()
	if err != nil || f.Update == nil {
		return "nothing"
	}
	return f.Update.State
}

const (
	// cutWithin is how long a good update takes, roughly.
	cutWithin = 25 * time.Second
	// cutsInOne bounds the cuts in one update: a slot that is cut off three times
	// before its agent runs is left for the other one, which is right and another story.
	cutsInOne = 2
)

func other(slot string) string {
	if slot == "A" {
		return "B"
	}
	return "A"
}
