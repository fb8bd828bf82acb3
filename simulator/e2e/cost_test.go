package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/report"
)

// cutSlack is what a cut may cost beyond the commit interval: the commit itself,
// and what is on its way to it, on a machine that does other things too.
const cutSlack = time.Second

// TestWhatACutCosts kills an agent at random moments of a drive in recorded
// time and measures how much of the drive was not on its disk: at most the
// commit interval of the class, as set, and what a commit takes.
func TestWhatACutCosts(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes for a quarter of a minute")
	}
	t.Parallel()
	built := programs(t)
	for _, c := range []struct {
		name, class, flag string
		interval          time.Duration
	}{
		{"urgent", "CS5", "--commit-urgent=500ms", 500 * time.Millisecond},
		{"bulk", "CS1", "--commit=2s", 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := plan{car: cars[0], speed: 1, flush: time.Second, setup: setup{
				campaigns:  []string{fmt.Sprintf(everythingEach, "all", c.class, "*", "30s")},
				everything: true,
			}}
			for p.length = 2 * time.Second; len(p.steps) < 2*4; p.length += 2 * time.Second {
				kill := p.length + rand.N(time.Second)
				p.steps = append(p.steps, step{kill, killAgent}, step{kill + 100*time.Millisecond, launchAgent})
			}
			times := &frameTimes{of: map[string][]int64{}}
			r := &round{plan: p, dir: folder(t), programs: built, flags: []string{c.flag}, tap: times.add}
			if l, err := r.play(t.Context()); err != nil {
				r.report(t, l, err)
				return
			}
			costs := r.costs(times)
			if len(costs) < 4 {
				t.Errorf("got %d cuts, want at least 4", len(costs))
			}
			if worst := slices.Max(costs); worst > c.interval+cutSlack {
				t.Errorf("a cut cost %v, want at most %v and what a commit takes", worst, c.interval)
			}
			t.Logf("cuts cost %v with commits each %v", costs, c.interval)
		})
	}
}

// frameTimes notes when each frame of each bus was sent, in µs of source time.
type frameTimes struct {
	mu sync.Mutex // guards of
	of map[string][]int64
}

func (f *frameTimes) add(bus string, _ uint64, frames []can.Frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range frames {
		f.of[bus] = append(f.of[bus], frames[i].Time)
	}
}

// costs gives for each start of the agent that was killed how much of the drive
// it had been given and not yet committed, of the bus that lost most. The last start is not killed.
func (r *round) costs(times *frameTimes) (costs []time.Duration) {
	starts := r.evidence.Starts
	for _, s := range starts[:len(starts)-1] {
		var onDisk []uint64 // frames by bus; a start that was killed before its first commit has no account
		if i := slices.IndexFunc(r.evidence.After.Boots, func(b report.Boot) bool { return b.Boot == s.Boot }); i >= 0 {
			onDisk = r.evidence.After.Boots[i].Seen
		}
		cost := time.Duration(0)
		for _, a := range r.evidence.Attachments {
			bus := slices.Index(r.evidence.Buses, a.Bus)
			if a.PID != s.PID || a.Next == a.First {
				continue
			}
			sent := times.of[a.Bus]
			last := sent[a.First]
			if onDisk != nil && onDisk[bus] > 0 {
				last = sent[a.First+onDisk[bus]-1]
			}
			cost = max(cost, time.Duration(sent[a.Next-1]-last)*time.Microsecond)
		}
		costs = append(costs, cost)
	}
	return costs
}
