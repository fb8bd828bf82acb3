package backbone_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// hand is a clock that is set by hand.
type hand struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
}

func (c *hand) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.wall }
func (c *hand) since() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// pass lets time go by; set sets the clock.
func (c *hand) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
}

func (c *hand) set(by time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.wall = c.wall.Add(by) }

// TestTimersAndTheClock sets the clock forward and back, while a process runs and between two.
func TestTimersAndTheClock(t *testing.T) {
	t.Parallel() // it mostly waits
	clock := &hand{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	cfg := backbone.Hurried(backbone.SetClock(backbone.Config{Dir: t.TempDir()}, clock.now, clock.since))
	b := open(t, cfg)
	k := timers(t, b, "x")
	in := func(key string, d time.Duration) {
		t.Helper()
		schedule(t, k, backbone.Timer{Owner: "car", Key: key, At: clock.now().Add(d), Made: clock.now()})
	}
	var h hands
	stop := running(t, k, h.fire)
	want := func(keys ...string) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for time.Now().Before(deadline) && len(h.keys()) < len(keys) {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond) // some looks at the clock, for what must not fire
		if got := h.keys(); fmt.Sprint(got) != fmt.Sprint(keys) {
			t.Fatalf("got %q, want %q", got, keys)
		}
	}
	in("a", 10*time.Second)
	in("b", time.Hour)
	want()
	clock.pass(10 * time.Second)
	want("car/a")
	clock.set(2 * time.Hour) // forward
	want("car/a", "car/b")
	in("c", 10*time.Second)
	in("d", time.Minute)
	clock.set(-5 * time.Hour) // back: d has still a minute to wait, not five hours
	clock.pass(9 * time.Second)
	want("car/a", "car/b")
	clock.pass(2 * time.Second)
	want("car/a", "car/b", "car/c")
	stop()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	clock.set(-24 * time.Hour) // between two processes
	b = open(t, cfg)
	k = timers(t, b, "x")
	running(t, k, h.fire)
	clock.pass(59 * time.Second)
	want("car/a", "car/b", "car/c")
	clock.pass(2 * time.Second)
	want("car/a", "car/b", "car/c", "car/d")
}
