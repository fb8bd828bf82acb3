package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// TestCancelAll: when an owner is deleted, its timers of the kind go, and nobody else's; one whose
// handler runs is not called again when it fails.
func TestCancelAll(t *testing.T) {
	cfg := backbone.Config{Dir: t.TempDir()}
	b := open(t, cfg)
	k, others, now := timers(t, b, "x"), timers(t, b, "y"), time.Now()
	later := func(owner, key string) backbone.Timer {
		return backbone.Timer{Owner: owner, Key: key, At: now.Add(time.Hour), Made: now}
	}
	for i := range 20 {
		schedule(t, k, later("car", fmt.Sprint("key", i)))
	}
	schedule(t, k, later("car2", "key1"))
	schedule(t, others, later("car", "key1"))
	var calls atomic.Int64
	called := make(chan struct{}, 1)
	goOn := make(chan struct{})
	firing := later("car", "firing")
	firing.At = now
	schedule(t, k, firing)
	running(t, k, func(context.Context, backbone.Timer) error {
		calls.Add(1)
		called <- struct{}{}
		<-goOn
		return errors.New("no such car")
	})
	<-called
	if err := k.CancelAll(t.Context(), "car"); err != nil {
		t.Error(err)
	}
	close(goOn)
	wantStored(t, b, 2)
	if s := b.Stats(); s.Timers != 2 || calls.Load() != 1 {
		t.Errorf("got %d timers and %d calls, want those of the others and one call", s.Timers, calls.Load())
	}
	if err := k.CancelAll(t.Context(), "nobody"); err != nil {
		t.Errorf("of nobody: %v", err)
	}
	for _, of := range []struct {
		timers *backbone.Timers
		owner  string
	}{{k, "car2"}, {others, "car"}} {
		if _, ok := of.timers.Get(of.owner, "key1"); !ok {
			t.Errorf("the timer of %s is gone", of.owner)
		}
	}
}

// TestLateRecord: a record that the server writes after its answer was given up is found and can be cancelled; until it is
// certain that none comes, nobody is told that there is none.
func TestLateRecord(t *testing.T) {
	c := &hand{wall: time.Now()}
	b := open(t, backbone.SetClock(backbone.Config{Timers: backbone.TimerLimits{OwnerTimers: 1}}, c.now, c.since))
	k := timers(t, b, "x")
	timer := backbone.Timer{Owner: "car", Key: "late", At: c.now().Add(time.Hour), Made: c.now()}
	unknown := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, backbone.ErrUnknown) {
			t.Errorf("%s: got %v, want %v", what, err, backbone.ErrUnknown)
		}
	}
	write := backbone.LateRecord(k, timer)
	unknown("cancel", k.Cancel(t.Context(), "car", "late"))
	unknown("cancel all", k.CancelAll(t.Context(), "car"))
	if err := k.Schedule(t.Context(), backbone.Timer{Owner: "car", Key: "other", At: timer.At, Made: timer.Made}); !errors.Is(err, backbone.ErrFull) {
		t.Errorf("got %v, want the place to be taken", err)
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	wantStored(t, b, 1)
	if err := k.CancelAll(t.Context(), "car"); err != nil {
		t.Error(err)
	}
	wantStored(t, b, 0)

	backbone.LateRecord(k, timer) // which never comes
	unknown("cancel", k.Cancel(t.Context(), "car", "late"))
	c.pass(time.Minute)
	if err := k.Cancel(t.Context(), "car", "late"); !errors.Is(err, backbone.ErrNotFound) {
		t.Errorf("got %v, want %v", err, backbone.ErrNotFound)
	}
	schedule(t, k, timer) // the place is free
	wantStored(t, b, 1)
	write = backbone.LateRecord(k, timer) // is found by the next Schedule, which replaces it
	other := timer
	other.Payload = []byte("other")
	if err := write(); err != nil {
		t.Fatal(err)
	}
	schedule(t, k, other)
	c.pass(time.Minute)
	if err := k.Cancel(t.Context(), "car", "late"); err != nil {
		t.Error(err)
	}
	wantStored(t, b, 0)
	if s := b.Stats(); s.Timers != 0 {
		t.Errorf("got %d timers, want none", s.Timers)
	}
}
