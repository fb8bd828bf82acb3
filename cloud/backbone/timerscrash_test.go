package backbone_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// effects is the stream in which the timers of these tests have their effect.
var effects = backbone.Stream{Name: "EFFECTS", Prefixes: []string{"effect"}}

// effect does what a timer is for, once: the first one who comes stores it.
func effect(b *backbone.Backbone, timer backbone.Timer) error {
	answer := make(chan error, 1)
	b.PublishExpecting(message("effect."+timer.Owner+"."+timer.Key, string(timer.Payload)), 0, func(_ uint64, err error) { answer <- err })
	if err := <-answer; err != nil && !errors.Is(err, backbone.ErrConflict) {
		return err
	}
	return nil
}

// The stages at which a child of TestKilledTimers kills itself.
const (
	killScheduled = "scheduled" // before one fires
	killBefore    = "before"    // in the handler, before the effect
	killAfter     = "after"     // in the handler, after the effect
	killDeleted   = "deleted"   // when some are done altogether
	killAtRandom  = "random"    // somewhere; the parent kills
	killChanged   = "changed"   // after timers were replaced and cancelled
)

// timersPerRun is how many a child schedules.
const timersPerRun = 40

// timersChild schedules timers that are due at once, says which, and has them fire.
func timersChild() {
	b, err := backbone.Open(backbone.Config{Dir: os.Getenv(dirVariable), Streams: []backbone.Stream{effects}})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	ctx := context.Background()
	k, err := b.Timers(ctx, "x")
	run, stage, _ := strings.Cut(os.Getenv(runVariable), ":")
	kill := func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }
	if err == nil && stage == killChanged {
		err = changeTimers(ctx, k)
		fmt.Println("changed", err)
		kill()
	}
	for i := range timersPerRun {
		now := time.Now()
		if err == nil {
			err = k.Schedule(ctx, backbone.Timer{Owner: "car" + fmt.Sprint(i%4), Key: fmt.Sprint(run, "-", i), At: now, Made: now, Payload: []byte("payload")})
		}
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Printf("scheduled car%d.%s-%d\n", i%4, run, i)
	}
	if stage == killScheduled {
		kill()
	}
	err = k.Run(ctx, func(_ context.Context, timer backbone.Timer) error {
		if stage == killBefore {
			kill()
		}
		if err := effect(b, timer); err != nil {
			return err
		}
		if stage == killAfter {
			kill()
		}
		if stage == killDeleted && timer.Owner == "car0" && b.Stats().Timers < timersPerRun/2 {
			kill()
		}
		return nil
	})
	fmt.Println("error", err)
}

// changeTimers replaces and cancels.
func changeTimers(ctx context.Context, k *backbone.Timers) error {
	now := time.Now()
	timer := func(key, text string) backbone.Timer {
		return backbone.Timer{Owner: "car", Key: key, At: now.Add(time.Hour), Made: now, Payload: []byte(text)}
	}
	return errors.Join(
		k.Schedule(ctx, timer("cancelled", "one")), k.Schedule(ctx, timer("replaced", "one")), k.Schedule(ctx, timer("kept", "one")),
		k.Schedule(ctx, timer("cancelled", "two")), k.Schedule(ctx, timer("replaced", "two")),
		k.Cancel(ctx, "car", "cancelled"),
	)
}

// TestKilledTimers kills the process before, while and after timers fire: each has its effect once in the end.
func TestKilledTimers(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	var scheduled []string
	for run, stage := range []string{killAtRandom, killAtRandom, killAtRandom, killDeleted, killAfter, killBefore, killScheduled} {
		cmd, out := child(t, roleTimers, dir, fmt.Sprint(run, ":", stage))
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		for said := bufio.NewScanner(out); said.Scan(); {
			name, ok := strings.CutPrefix(said.Text(), "scheduled ")
			if !ok {
				t.Fatalf("child said %q", said.Text())
			}
			if scheduled = append(scheduled, name); stage == killAtRandom && len(scheduled)%timersPerRun == 0 {
				time.AfterFunc(time.Duration(rand.Int64N(int64(30*time.Millisecond))), func() { _ = cmd.Process.Kill() })
			}
		}
		timer.Stop()
		_ = cmd.Wait() // killed
	}
	b := open(t, backbone.Config{Dir: dir, Streams: []backbone.Stream{effects}})
	info, err := b.Info(t.Context(), "EFFECTS")
	if err != nil {
		t.Fatal(err)
	}
	k := timers(t, b, "x")
	left := b.Stats().Timers
	running(t, k, func(_ context.Context, timer backbone.Timer) error { return effect(b, timer) })
	wantStored(t, b, 0)
	t.Logf("%d scheduled, %d effects before the last start, %d timers left then", len(scheduled), info.Messages, left)
	var got []string
	for _, m := range readAll(t, b, "EFFECTS", 0, len(scheduled)) {
		got = append(got, strings.TrimPrefix(m.Subject, "effect."))
	}
	if end, err := b.Info(t.Context(), "EFFECTS"); err != nil || end.Messages != uint64(len(scheduled)) {
		t.Errorf("got %d effects, %v, want %d", end.Messages, err, len(scheduled))
	}
	slices.Sort(got)
	slices.Sort(scheduled)
	if !slices.Equal(got, scheduled) {
		t.Errorf("got effects %q, want one for each of %q", got, scheduled)
	}
	if len(scheduled) != 7*timersPerRun || left == 0 || info.Messages == 0 {
		t.Errorf("got %d scheduled, %d left and %d effects before, want some of each", len(scheduled), left, info.Messages)
	}
}

// TestKilledAfterChanges: what was cancelled or replaced does not come back, and sequences go on.
func TestKilledAfterChanges(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	for start := range 2 {
		cmd, out := child(t, roleTimers, dir, "0:"+killChanged)
		said := bufio.NewScanner(out)
		if !said.Scan() || said.Text() != "changed <nil>" {
			t.Fatalf("child said %q", said.Text())
		}
		_ = cmd.Wait() // killed
		b := open(t, backbone.Config{Dir: dir})
		k := timers(t, b, "x")
		if _, ok := k.Get("car", "cancelled"); ok {
			t.Errorf("start %d: the cancelled timer is back", start)
		}
		if got, ok := k.Get("car", "replaced"); !ok || string(got.Payload) != "two" {
			t.Errorf("start %d: got %q, %v, want the newer one", start, got.Payload, ok)
		}
		if _, ok := k.Get("car", "kept"); !ok || b.Stats().Timers != 2 {
			t.Errorf("start %d: got %d timers, want 2", start, b.Stats().Timers)
		}
		before, err := b.Info(t.Context(), "TIMERS")
		if err != nil || before.Last < uint64(5*(start+1)) {
			t.Errorf("start %d: got %+v, %v, want sequences to go on", start, before, err)
		}
		for _, key := range []string{"replaced", "kept"} {
			if err := k.Cancel(t.Context(), "car", key); err != nil {
				t.Error(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
