package power_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/power"
	hal "telltale.dev/hal/power"
	"telltale.dev/hal/power/powertest"
)

// events is what the keeper did, with the time since the start.
type events struct {
	began time.Time

	mu       sync.Mutex
	list     []string
	uploaded bool
	flushing time.Duration // how long a flush takes
	leaving  time.Duration // how long a goodbye takes
}

func (e *events) add(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf("%v ", time.Since(e.began))+fmt.Sprintf(format, args...))
}

func (e *events) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

// Flush implements power.Flusher.
func (e *events) Flush(ctx context.Context) error {
	select {
	case <-time.After(e.flushing):
		e.add("flushed")
		return nil
	case <-ctx.Done():
		e.add("flush cut")
		return ctx.Err()
	}
}

func (e *events) setUploaded() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.uploaded = true
}

// Uploaded implements power.Line.
func (e *events) Uploaded() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.uploaded
}

// Leave implements power.Line.
func (e *events) Leave(ctx context.Context, asleep bool, wakes time.Time, within time.Duration) error {
	select {
	case <-time.After(e.leaving):
	case <-ctx.Done():
		e.add("goodbye cut")
		return ctx.Err()
	}
	word := "offline"
	if asleep {
		word = "asleep"
	}
	if !wakes.IsZero() {
		word += fmt.Sprintf(" until %v", wakes.Sub(e.began))
	}
	if within > 0 {
		word += fmt.Sprintf(" within %v", within)
	}
	e.add("%s", word)
	return nil
}

// Return implements power.Line.
func (e *events) Return() { e.add("online") }

// rig is a keeper in a bubble, with a fake supply whose ignition is on.
type rig struct {
	*powertest.Fake
	*events
	keeper *power.Keeper
	log    *bytes.Buffer
	ended  chan error
}

// bubble runs a test with a keeper; change may change its settings.
func bubble(t *testing.T, change func(*power.Config, *rig), test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{Fake: powertest.NewFake(hal.On), events: &events{began: time.Now()}, ended: make(chan error, 1), log: &bytes.Buffer{}}
		cfg := power.Config{
			Supply: r.Fake, Waker: r.Fake, Sleeper: r.Fake, Flusher: r.events, Line: r.events,
			Window: 2 * time.Minute, WakeAfter: time.Hour, Log: slog.New(slog.NewTextHandler(r.log, nil)),
		}
		change(&cfg, r)
		var err error
		if r.keeper, err = power.New(cfg); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { r.ended <- r.keeper.Run(ctx) }()
		synctest.Wait()
		test(r)
		r.Set(hal.On, 0) // whoever sleeps wakes
		cancel()
		if err := <-r.ended; err != nil && !errors.Is(err, power.ErrStop) {
			t.Errorf("Run: %v", err)
		}
	})
}

func (r *rig) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := r.all(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q\nlog:\n%s", got, want, r.log)
	}
}

func at(d time.Duration) { time.Sleep(d) }

// TestSuspend is the whole way down and up again.
func TestSuspend(t *testing.T) {
	bubble(t, func(c *power.Config, _ *rig) { c.After = power.Suspend }, func(r *rig) {
		r.want(t)
		r.Set(hal.Off, 0)
		at(10 * time.Minute) // of the ignition; nothing is uploaded
		night := []string{
			"0s flushed", "250ms flushed", "2m0.25s asleep until 1h2m0s", "2m0.25s flushed", "2m0.5s flushed",
		}
		r.want(t, night...)
		if !r.keeper.Status().Asleep || r.Sleeps() != 1 || r.Armed().At.Sub(r.began) != time.Hour+2*time.Minute {
			t.Errorf("got %+v, slept %d times, armed %v", r.keeper.Status(), r.Sleeps(), r.Armed())
		}
		at(time.Hour) // the alarm wakes the machine: it uploads and sleeps again
		night = append(night, "1h2m0.3s online", "1h2m0.3s flushed", "1h2m0.55s flushed",
			"1h4m0.55s asleep until 2h4m1s", "1h4m0.55s flushed", "1h4m0.8s flushed")
		r.want(t, night...)
		r.Set(hal.On, 0)
		r.want(t, append(night, "1h10m0s online")...)
		if s := r.keeper.Status(); s.Asleep || s.Ignition != hal.On || r.Armed() != (hal.Wake{}) {
			t.Errorf("got %+v, armed %+v, want awake and disarmed", s, r.Armed())
		}
	})
}

// TestWindow: it ends when all is uploaded, and is left when the ignition is on again.
func TestWindow(t *testing.T) {
	bubble(t, func(c *power.Config, _ *rig) { c.WakeAfter = 0 }, func(r *rig) {
		r.Set(hal.Off, 0)
		at(time.Minute)
		r.Set(hal.On, 0)
		at(time.Minute)
		r.want(t, "0s flushed", "250ms flushed") // never left
		r.Set(hal.Off, 0)
		at(30 * time.Second)
		r.setUploaded()
		at(time.Second)
		r.want(t, "0s flushed", "250ms flushed", "2m0s flushed", "2m0.25s flushed",
			"2m30.05s asleep", "2m30.05s flushed", "2m30.3s flushed")
		at(24 * time.Hour) // no alarm: it sleeps until the ignition is on
		r.Set(hal.On, 0)
		synctest.Wait()
		if got := r.all(); got[len(got)-1] != "24h2m31s online" {
			t.Errorf("got %q", got)
		}
	})
}

// TestModem: a message wakes it, and it sleeps again after its window.
func TestModem(t *testing.T) {
	bubble(t, func(c *power.Config, _ *rig) { c.After, c.WakeByModem, c.WakeAfter = power.Suspend, true, 0 }, func(r *rig) {
		r.setUploaded()
		r.Set(hal.Off, 0)
		at(time.Hour)
		r.Message()
		at(time.Hour)
		r.want(t, "0s flushed", "250ms flushed", "250ms asleep", "250ms flushed", "500ms flushed", "1h0m0.3s online",
			"1h0m0.3s flushed", "1h0m0.55s flushed", "1h0m0.55s asleep", "1h0m0.55s flushed", "1h0m0.8s flushed")
	})
}

func TestStop(t *testing.T) {
	bubble(t, func(c *power.Config, _ *rig) { c.After, c.Window = power.Stop, 0 }, func(r *rig) {
		r.Set(hal.Off, 0)
		at(time.Minute)
		r.want(t, "0s flushed", "250ms flushed", "250ms asleep until 1h0m0s", "250ms flushed", "500ms flushed")
		err := <-r.ended
		if !errors.Is(err, power.ErrStop) {
			t.Errorf("got %v, want ErrStop", err)
		}
		r.ended <- err
	})
}

// TestNotice: everything happens within the notice, however short, and a false one is survived.
func TestNotice(t *testing.T) {
	bubble(t, func(_ *power.Config, r *rig) { r.flushing = 50 * time.Millisecond }, func(r *rig) {
		r.Set(hal.Off, 4*time.Second)
		at(time.Second * 3)
		night := []string{"50ms flushed", "350ms flushed", "350ms offline within 2s", "400ms flushed", "700ms flushed"}
		r.want(t, night...)
		at(time.Minute) // and power is still there: as if there were no notice
		night = append(night, "34s online", "34.05s flushed", "34.35s flushed")
		r.want(t, night...)
		r.Set(hal.On, 0)
		r.want(t, night...)
	})
	bubble(t, func(_ *power.Config, r *rig) { r.leaving, r.flushing = time.Minute, time.Minute }, func(r *rig) {
		r.Set(hal.Off, 2*time.Second)
		at(2 * time.Second) // neither disk nor network answers
		r.want(t, "500ms flush cut", "1.5s goodbye cut", "2s flush cut")
		r.Set(hal.On, 0) // power stays
		r.want(t, "500ms flush cut", "1.5s goodbye cut", "2s flush cut", "2s online")
	})
	bubble(t, func(*power.Config, *rig) {}, func(r *rig) { // in the upload window
		r.Set(hal.Off, 0)
		at(time.Second)
		r.Set(hal.Off, 8*time.Second)
		at(time.Second)
		r.want(t, "0s flushed", "250ms flushed", "1s flushed", "1.25s flushed", "1.25s offline within 4s", "1.25s flushed", "1.5s flushed")
	})
}

// broken is hardware that fails.
type broken struct{ err error }

func (b broken) Arm(w hal.Wake) error {
	if w == (hal.Wake{}) {
		return nil
	}
	return b.err
}
func (b broken) Suspend() error { return b.err }

// TestBrokenHardware: without alarm and sleep it stays awake, tells no time of waking, and comes back.
func TestBrokenHardware(t *testing.T) {
	bubble(t, func(c *power.Config, _ *rig) {
		c.After, c.Window, c.WakeByModem = power.Suspend, 0, true
		c.Waker, c.Sleeper = broken{hal.ErrUnsupported}, broken{hal.ErrDenied}
	}, func(r *rig) {
		r.Set(hal.Off, 0)
		at(3 * time.Hour)
		r.want(t, "0s flushed", "250ms flushed", "250ms asleep", "250ms flushed", "500ms flushed")
		r.Set(hal.On, 0)
		r.want(t, "0s flushed", "250ms flushed", "250ms asleep", "250ms flushed", "500ms flushed", "3h0m0s online")
		for _, says := range []string{"nothing but the ignition will wake the machine", "cannot suspend"} {
			if !bytes.Contains(r.log.Bytes(), []byte(says)) {
				t.Errorf("the log lacks %q", says)
			}
		}
	})
}

// blind is a supply that cannot be read at first.
type blind struct {
	hal.Supply
	errors int
}

func (b *blind) Next(ctx context.Context, last hal.State) (hal.State, error) {
	if b.errors--; b.errors >= 0 {
		return hal.State{}, errors.New("ignition: no such file")
	}
	return b.Supply.Next(ctx, last)
}

// TestBlind: a supply that cannot be read is no reason to do anything; it is told once.
func TestBlind(t *testing.T) {
	bubble(t, func(c *power.Config, r *rig) { c.Supply = &blind{r.Fake, 5} }, func(r *rig) {
		at(time.Minute)
		r.want(t)
		if n := bytes.Count(r.log.Bytes(), []byte("ignition cannot be read")); n != 1 {
			t.Errorf("told %d times, want once", n)
		}
		r.Set(hal.Off, 0)
		r.want(t, "1m0s flushed")
	})
}

func TestNewErrors(t *testing.T) {
	f, e := powertest.NewFake(hal.On), &events{}
	for says, cfg := range map[string]power.Config{
		`power: after "nap": expected wait, suspend or stop`: {After: "nap"},
		"power: expected times of at least zero":             {Window: -1},
		"power: expected a flusher and a line":               {Supply: f, Line: e},
		"power: expected a machine that can be suspended":    {Supply: f, Line: e, Flusher: e, After: power.Suspend},
	} {
		if _, err := power.New(cfg); err == nil || err.Error() != says {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	k, err := power.New(power.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Run(ctx); err != nil {
		t.Errorf("without a supply: got %v", err)
	}
}
