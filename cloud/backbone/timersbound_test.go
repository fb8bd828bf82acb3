package backbone_test

import (
	"context"
	"errors"
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
