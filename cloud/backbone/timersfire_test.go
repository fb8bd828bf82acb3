package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// memoryDir is a folder in memory, if there is a place for it: for what is about the number of writes, not about the disk.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "backbone")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestTenThousandTimers are due at once: each fires, while others are scheduled and cancelled.
func TestTenThousandTimers(t *testing.T) {
	t.Parallel() // beside those that mostly wait
	const owners, each = 250, 40
	b := open(t, backbone.Config{Dir: memoryDir(t)})
	k, now := timers(t, b, "x"), time.Now()
	var all sync.WaitGroup
	for owner := range owners {
		all.Go(func() {
			for key := range each {
				err := k.Schedule(t.Context(), backbone.Timer{Owner: fmt.Sprint("car", owner), Key: fmt.Sprint(key), At: now.Add(-time.Duration(key) * time.Second), Made: now})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	waitFor(t, &all)
	scheduled := time.Since(now)
	var calls sync.Map
	var n, late atomic.Int64
	start := time.Now()
	running(t, k, func(_ context.Context, timer backbone.Timer) error {
		if _, again := calls.LoadOrStore(timer.Owner+"/"+timer.Key, true); again {
			t.Errorf("%s %s fired twice", timer.Owner, timer.Key)
		}
		if n.Add(1) == owners*each {
			late.Store(int64(time.Since(start)))
		}
		return nil
	})
	for end := start.Add(2 * time.Minute); n.Load() < owners*each && time.Now().Before(end); { // slow under the race detector
		time.Sleep(10 * time.Millisecond)
	}
	until(t, "the end of the last one", func() bool { return b.Stats().Timers == 0 })
	wantStored(t, b, 0)
	t.Logf("%d timers: scheduled in %v, the last one fired after %v, all records deleted after %v", owners*each, scheduled, time.Duration(late.Load()), time.Since(start))
}

// TestCancelRacesFiring cancels timers in the moment they are due: each is cancelled or fires, never both nor neither.
func TestCancelRacesFiring(t *testing.T) {
	t.Parallel() // it mostly waits
	const owners, each = 20, 30
	b := open(t, backbone.Config{})
	k, now := timers(t, b, "x"), time.Now()
	var all sync.WaitGroup
	for owner := range owners {
		all.Go(func() {
			for key := range each {
				at := now.Add(500*time.Millisecond + time.Duration(key)*10*time.Millisecond)
				if err := k.Schedule(t.Context(), backbone.Timer{Owner: fmt.Sprint(owner), Key: fmt.Sprint(key), At: at, Made: now}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	waitFor(t, &all)
	var h hands
	running(t, k, h.fire)
	cancelled := make([]map[string]bool, owners)
	for owner := range owners {
		cancelled[owner] = map[string]bool{}
		all.Go(func() {
			for key := range each {
				if at := now.Add(500*time.Millisecond + time.Duration(key)*10*time.Millisecond); owner%3 > 0 {
					time.Sleep(time.Until(at.Add(time.Duration(owner%5-1) * time.Millisecond)))
				}
				switch err := k.Cancel(t.Context(), fmt.Sprint(owner), fmt.Sprint(key)); {
				case err == nil:
					cancelled[owner][fmt.Sprint(owner, "/", key)] = true
				case !errors.Is(err, backbone.ErrFired) && !errors.Is(err, backbone.ErrNotFound):
					t.Errorf("cancel: %v", err)
				}
			}
		})
	}
	waitFor(t, &all)
	wantStored(t, b, 0)
	seen, n := map[string]int{}, 0
	for _, key := range h.keys() {
		seen[key]++
	}
	for owner := range owners {
		for key := range each {
			name := fmt.Sprint(owner) + "/" + fmt.Sprint(key)
			was := cancelled[owner][fmt.Sprint(owner, "/", key)]
			if was {
				n++
			}
			if was && seen[name] != 0 || !was && seen[name] != 1 {
				t.Errorf("%s: cancelled %v, fired %d times", name, was, seen[name])
			}
		}
	}
	t.Logf("%d cancelled, %d fired", n, len(seen))
	if n == 0 || len(seen) == 0 {
		t.Errorf("got %d cancelled and %d fired, want some of both", n, len(seen))
	}
}

// TestTimerHandlerFails: it is called again later, holds only its owner's timers, and gives way to what takes its place.
func TestTimerHandlerFails(t *testing.T) {
	t.Parallel() // it mostly waits
	clock := &hand{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	b := open(t, backbone.Hurried(backbone.SetClock(backbone.Config{}, clock.now, clock.since)))
	k := timers(t, b, "x")
	timer := func(owner, key, text string) backbone.Timer {
		return backbone.Timer{Owner: owner, Key: key, At: clock.now(), Made: clock.now(), Payload: []byte(text)}
	}
	broken := atomic.Bool{}
	broken.Store(true)
	h := hands{fail: func(timer backbone.Timer) error {
		if timer.Key == "bad" && broken.Load() {
			return errors.New("broken")
		}
		return nil
	}}
	schedule(t, k, timer("car", "bad", "one"))
	schedule(t, k, timer("car", "good", ""))
	schedule(t, k, timer("other", "good", ""))
	running(t, k, h.fire)
	count := func(key string) func() bool {
		return func() bool { return slices.Contains(h.keys(), key) }
	}
	until(t, "the other owner's", count("other/good"))
	until(t, "the owner's next", count("car/good"))
	for tries := 1; tries <= 3; tries++ {
		until(t, "a try", func() bool { return b.Stats().FireFailed == uint64(tries) })
		clock.pass(time.Second<<(tries-1) - time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		if got := b.Stats().FireFailed; got != uint64(tries) {
			t.Fatalf("got %d tries before their time, want %d", got, tries)
		}
		clock.pass(time.Millisecond)
	}
	until(t, "a try", func() bool { return b.Stats().FireFailed == 4 })
	schedule(t, k, timer("car", "bad", "two"))
	until(t, "a try of the new one", func() bool { return b.Stats().FireFailed == 5 })
	broken.Store(false)
	clock.pass(time.Minute)
	wantStored(t, b, 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.calls[len(h.calls)-1]; string(last.Payload) != "two" {
		t.Errorf("got %q at last, want two", last.Payload)
	}
}

// TestTimerSchedulesItself: a handler that schedules its own key again is called again.
func TestTimerSchedulesItself(t *testing.T) {
	b := open(t, backbone.Config{})
	k, now := timers(t, b, "x"), time.Now()
	var n atomic.Int64
	schedule(t, k, backbone.Timer{Owner: "car", Key: "tick", At: now, Made: now})
	running(t, k, func(ctx context.Context, timer backbone.Timer) error {
		if n.Add(1) == 5 {
			return nil
		}
		timer.Made, timer.At = timer.At, timer.At.Add(time.Millisecond)
		return k.Schedule(ctx, timer)
	})
	until(t, "five ticks", func() bool { return n.Load() == 5 })
	wantStored(t, b, 0)
	until(t, "no timer", func() bool { return b.Stats().Timers == 0 })
}
