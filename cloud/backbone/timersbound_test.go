package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// TestTimerSchedulesItselfAtABound: at each of the bounds a handler may schedule its own key again, and nothing more.
func TestTimerSchedulesItselfAtABound(t *testing.T) {
	const bytes = 2 * (len("car") + len("tick") + 128) // of two timers
	for name, limits := range map[string]backbone.TimerLimits{
		"owner's timers": {OwnerTimers: 2}, "owner's bytes": {OwnerBytes: bytes}, "timers": {Timers: 2}, "bytes": {Bytes: bytes},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, backbone.Config{Timers: limits})
			k, now := timers(t, b, "x"), time.Now()
			timer := func(key string, in time.Duration) backbone.Timer {
				return backbone.Timer{Owner: "car", Key: key, At: now.Add(in), Made: now}
			}
			full := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, backbone.ErrFull) {
					t.Errorf("%s: got %v, want %v", what, err, backbone.ErrFull)
				}
			}
			schedule(t, k, timer("rest", time.Hour))
			schedule(t, k, timer("tick", 0))
			var n atomic.Int64
			running(t, k, func(ctx context.Context, tick backbone.Timer) error {
				full("another key", k.Schedule(ctx, timer("tock", 0)))
				if limits.OwnerBytes+limits.Bytes > 0 {
					tick.Payload = make([]byte, 1)
					full("a longer payload", k.Schedule(ctx, tick))
					tick.Payload = nil
				}
				if n.Load() == 5 {
					n.Add(1)
					return nil
				}
				tick.Made, tick.At = tick.At, tick.At.Add(time.Millisecond)
				if err := k.Schedule(ctx, tick); err != nil {
					t.Errorf("itself: %v", err)
				}
				n.Add(1)
				return nil
			})
			until(t, "six ticks", func() bool { return n.Load() == 6 })
			until(t, "room for another", func() bool { return k.Schedule(t.Context(), timer("tock", time.Hour)) == nil })
			full("at the end", k.Schedule(t.Context(), timer("more", time.Hour)))
		})
	}
}

// TestDoubtHoldsNoTimer: timers fire while it cannot be found out whether another one is there.
func TestDoubtHoldsNoTimer(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Config{})
	k, now := timers(t, b, "x"), time.Now()
	release := backbone.HoldInDoubt(k, "car", "doubt")
	defer release()
	var h hands
	running(t, k, h.fire)
	schedule(t, k, backbone.Timer{Owner: "car", Key: "later", At: now.Add(1500 * time.Millisecond), Made: now}) // after it was asked for
	until(t, "the timer", func() bool { return len(h.keys()) == 1 })
}

// TestTimerBounds: an owner at its bound hurts nobody else; what fired, was cancelled or replaced makes room; a restart counts the same.
func TestTimerBounds(t *testing.T) {
	t.Parallel() // it mostly waits
	cfg := backbone.Config{Dir: t.TempDir(), Timers: backbone.TimerLimits{OwnerTimers: 3, OwnerBytes: 1000, Timers: 6, Bytes: 100_000}}
	b := open(t, cfg)
	k, now := timers(t, b, "x"), time.Now()
	try := func(owner, key string, size int) error {
		return k.Schedule(t.Context(), backbone.Timer{Owner: owner, Key: key, At: now.Add(time.Hour), Made: now, Payload: make([]byte, size)})
	}
	want := func(what string, err error, says string) {
		t.Helper()
		if says == "" && err != nil || says != "" && (!errors.Is(err, backbone.ErrFull) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: got %v, want %q", what, err, says)
		}
	}
	for i := range 3 {
		want("up to the bound", try("greedy", fmt.Sprint(i), 0), "")
	}
	want("beyond it", try("greedy", "3", 0), "owner's timers: 4, expected at most 3")
	want("in the place of another", try("greedy", "2", 10), "")
	want("the bytes", try("greedy", "2", 900), "bytes of the owner's timers")
	want("somebody else", try("modest", "0", 0), "")
	if err := k.Cancel(t.Context(), "greedy", "0"); err != nil {
		t.Fatal(err)
	}
	want("after a cancel", try("greedy", "3", 0), "")
	want("others", errors.Join(try("c", "0", 0), try("d", "0", 0)), "")
	want("all of them", try("e", "0", 0), "timers: 7, expected at most 6")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, cfg)
	k = timers(t, b, "x")
	want("after a restart", try("e", "0", 0), "timers: 7, expected at most 6")
	want("the owner after a restart", try("greedy", "4", 0), "owner's timers: 4")
	schedule(t, k, backbone.Timer{Owner: "greedy", Key: "1", At: now, Made: now})
	var h hands
	running(t, k, h.fire)
	until(t, "room", func() bool { return try("greedy", "4", 0) == nil })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Timers = backbone.TimerLimits{Bytes: 300} // less than there is: what is there stays
	b = open(t, cfg)
	k = timers(t, b, "x")
	want("the bytes of all", try("e", "0", 0), "bytes of all timers")
	if s := b.Stats(); s.Timers != 6 {
		t.Errorf("got %d timers, want 6", s.Timers)
	}
}
