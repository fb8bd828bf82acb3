package link_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"telltale.dev/agent/link"
	"telltale.dev/protocol"
)

// A device that sleeps says so, keeps away while its buffer fills, and comes back
// with a connection number of its own.
func TestLeaveAndReturn(t *testing.T) {
	t.Parallel()
	s := serve(t, &server{}, nil)
	buf := newMemory()
	r := start(t, buf, func(c *link.Config) { c.Endpoints = []string{"mqtt://" + s.addr} })
	wakes := time.UnixMilli(1_800_000_000_000)
	for round := range 3 {
		eventually(t, "birth", func() bool { return len(presences(t, s.received())) == 2*round+1 })
		if err := r.Leave(t.Context(), link.Goodbye{Asleep: true, Wakes: wakes}); err != nil {
			t.Fatal(err)
		}
		all := presences(t, s.received())
		if last := all[len(all)-1]; last.State != protocol.PresenceAsleep || last.WakesAt != wakes.UnixMilli() {
			t.Fatalf("round %d: last presence: got %+v, want asleep", round, last)
		}
		buf.add(numbered("asleep", 3, protocol.CS6)...)
		time.Sleep(150 * time.Millisecond) // longer than the longest back-off
		if n := s.connected(); n != round+1 || r.Stats().Connected || buf.left() != 3 {
			t.Fatalf("round %d: got %d connections and %d records left while away, want %d and 3", round, n, buf.left(), round+1)
		}
		r.Return()
		eventually(t, "records of the night", func() bool { return buf.left() == 0 })
	}
	all := presences(t, s.received())
	if last := all[len(all)-1]; last.State != protocol.PresenceOnline || last.Connection != 4 {
		t.Errorf("last presence: got %+v, want online in connection 4", last)
	}
	r.stop() // and then it is offline again, not asleep
	all = presences(t, s.received())
	if last := all[len(all)-1]; last.State != protocol.PresenceOffline {
		t.Errorf("last presence: got %+v, want offline", last)
	}
}

// Without a server, or with one that does not answer, leaving is quick, too.
func TestLeaveIsBounded(t *testing.T) {
	t.Parallel()
	t.Run("no server", func(t *testing.T) {
		r := start(t, newMemory(), func(c *link.Config) { c.Endpoints = []string{"mqtt://127.0.0.1:1"} })
		began := time.Now()
		if err := r.Leave(t.Context(), link.Goodbye{}); err != nil || time.Since(began) > patience {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if err := r.Leave(t.Context(), link.Goodbye{Asleep: true}); err != nil { // again
			t.Error(err)
		}
	})
	t.Run("silent server", func(t *testing.T) {
		s := serve(t, &server{answer: func(publish) byte { return noAnswer }}, nil)
		r := start(t, newMemory(), func(c *link.Config) {
			c.Endpoints, c.DrainTime, c.AckTimeout = []string{"mqtt://" + s.addr}, time.Hour, time.Hour
		})
		eventually(t, "birth", func() bool { return len(s.received()) == 1 })
		began := time.Now()
		if err := r.Leave(t.Context(), link.Goodbye{Within: 400 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > patience {
			t.Errorf("took %v, want about 400 ms", took)
		}
	})
	t.Run("context", func(t *testing.T) {
		s := serve(t, &server{answer: func(publish) byte { return noAnswer }}, nil)
		r := start(t, newMemory(), func(c *link.Config) {
			c.Endpoints, c.DrainTime = []string{"mqtt://" + s.addr}, time.Second
		})
		eventually(t, "birth", func() bool { return len(s.received()) == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := r.Leave(ctx, link.Goodbye{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}
