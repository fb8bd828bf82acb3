package heap

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

const mb = 1 << 20

// clocked feeds a policy samples that are one tick apart.
type clocked struct {
	policy
	now sample
}

func newClocked(limit int64) *clocked {
	return &clocked{policy: policy{limit: limit}, now: sample{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), live: 60 * mb, roots: 10 * mb}}
}

// pass is one tick in which so much was allocated, all of it garbage. It counts collections as Run does them.
func (c *clocked) pass(allocated uint64, took time.Duration) (percent int, collected bool) {
	c.now.at = c.now.at.Add(tick)
	c.now.allocated += allocated
	c.now.garbage += allocated
	percent, collected = c.decide(c.now)
	if collected {
		c.collected(c.now.at, took)
		c.now.garbage, c.now.free = 0, 0
	}
	return percent, collected
}

// TestAtWork: garbage takes its part of the limit, within the bounds of GOGC.
func TestAtWork(t *testing.T) {
	for _, test := range []struct {
		name        string
		limit       int64
		live, roots uint64
		want        int
	}{
		{"nothing collected yet", 1 << 30, 0, 0, 400},
		{"small heap", 1 << 30, 10 * mb, 0, 400},
		{"a quarter of the limit", 1 << 30, 80 * mb, 20 * mb, 250},
		{"large heap", 1 << 30, 500 * mb, 0, 150},
		{"small limit", 64 * mb, 60 * mb, 0, 150},
		{"no limit", 1<<63 - 1, 60 * mb, 0, 400},
		{"a limit below zero", -1, 60 * mb, 0, 150},
	} {
		p := policy{limit: test.limit}
		if got := p.atWork(sample{live: test.live, roots: test.roots}); got != test.want {
			t.Errorf("%s: GOGC got %d, want %d", test.name, got, test.want)
		}
	}
}

// TestAtRest: after work there is one collection, and then none until there is garbage again.
func TestAtRest(t *testing.T) {
	c := newClocked(1 << 30)
	for second := range 60 {
		if _, collected := c.pass(20*mb, 0); collected {
			t.Fatalf("second %d at work: got a collection, want none", second)
		}
		if c.now.garbage > 200*mb {
			c.now.garbage = 0 // the runtime's own
		}
	}
	c.now.garbage = 100 * mb
	collections := 0
	for second := range 600 {
		if _, collected := c.pass(100<<10, 50*time.Millisecond); collected {
			collections++
		}
		if second == calm && collections != 1 {
			t.Errorf("after %d s of rest: got %d collections, want 1", calm, collections)
		}
	}
	// 100 KiB/s make the quarter of 60 MiB that a further one needs in 150 s.
	if want := 1 + (600-calm)/150; collections != want {
		t.Errorf("in ten minutes of rest: got %d collections, want %d", collections, want)
	}
}

// TestRestIsBounded: whatever there is to free, collections at rest have a pause between them, a longer one when they take long.
func TestRestIsBounded(t *testing.T) {
	for _, test := range []struct {
		took, apart time.Duration
	}{{time.Millisecond, restPause}, {time.Second, 200 * time.Second}} {
		c := newClocked(1 << 30)
		var last time.Time
		collections := 0
		for range 3600 {
			c.now.garbage, c.now.free = 500*mb, 500*mb // the worst: much to free, at all times
			if _, collected := c.pass(1, test.took); collected {
				if since := c.now.at.Sub(last); !last.IsZero() && since < test.apart {
					t.Fatalf("collections that take %v: got %v between two, want at least %v", test.took, since, test.apart)
				}
				last = c.now.at
				collections++
			}
		}
		if want := int(time.Hour / test.apart); collections < want-1 || collections > want+1 {
			t.Errorf("collections that take %v: got %d in an hour, want %d", test.took, collections, want)
		}
	}
}

// TestClockSetBack: a clock that goes back does no harm, and the rule works again once it goes on.
func TestClockSetBack(t *testing.T) {
	c := newClocked(1 << 30)
	c.now.garbage = 100 * mb
	for range 3 {
		c.pass(0, 0)
	}
	c.now.at = c.now.at.Add(-time.Hour)
	collections := 0
	for range 3 * calm {
		if _, collected := c.pass(0, 0); collected {
			collections++
		}
	}
	if collections != 1 {
		t.Errorf("got %d collections, want 1", collections)
	}
}

// TestGivesBack: what the runtime says of a process that has had much and rests makes the rule give it back.
func TestGivesBack(t *testing.T) {
	const blocks, size = 64, 1 * mb
	kept := make([][]byte, blocks)
	for i := range kept {
		kept[i] = make([]byte, size)
	}
	runtime.GC()
	runtime.KeepAlive(kept)
	kept = nil
	runtime.GC() // free now, and not given back
	now := time.Now()
	full := read(now)
	if full.live == 0 || full.roots == 0 || full.allocated == 0 {
		t.Fatalf("got %+v of the runtime, want sizes", full)
	}
	var p policy
	for i := range 2 * calm {
		s := read(now.Add(time.Duration(i) * tick))
		s.free += blocks * size // the background may have given some of it back already
		p.apply(s)
	}
	if p.last.IsZero() {
		t.Fatal("got no collection")
	}
	if after := read(now); after.free > 16*mb {
		t.Errorf("got %d bytes free and not given back, want next to none", after.free)
	}
}

// TestRun: the limit is set, and Run ends with its context.
func TestRun(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	const limit = 1 << 40
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Run(ctx, limit)
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("memory limit got %d, want %d", got, limit)
	}
}
