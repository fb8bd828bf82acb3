package batch_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
)

// TestFlush: what was added, and what waits at the entrance, is sealed and on disk when
// Flush returns, long before its time.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &store{}
		s := sealerOn(st)
		captures := []*collect.Capture{captureOf("urgent", 1, protocol.CS5, time.Hour), captureOf("bulk", 2, protocol.CS1, time.Hour)}
		in := make(chan *collect.Block, 10)
		for i := range 10 {
			in <- blockOf(captures, uint64(i+1), start+int64(i)*1000, 0, 1)
		}
		ended := make(chan error)
		go func() { ended <- s.Run(t.Context(), in) }()
		for range 2 { // the second has nothing to do
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(st.sealed) != 2 || len(st.open) != 0 || st.samples() != 30 || st.progress.Received != 10 {
				t.Errorf("got %d sealed, %d open, %d samples, %d frames; want 2, 0, 30, 10", len(st.sealed), len(st.open), st.samples(), st.progress.Received)
			}
		}
		time.Sleep(time.Hour) // buses that are silent for long
		if err := s.Alive(t.Context()); err != nil {
			t.Errorf("got %v, want alive", err)
		}
		in <- blockOf(captures, 11, start+second, 0) // and it goes on
		close(in)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(st.sealed) != 3 || st.progress.Received != 11 {
			t.Errorf("afterwards: got %d sealed, %d frames", len(st.sealed), st.progress.Received)
		}
		if err := s.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("after the end: got %v", err)
		}
		if err := s.Alive(t.Context()); err == nil {
			t.Error("after the end: alive")
		}
	})
}

// full is a store on a disk that may be full.
type full struct {
	*store
	isFull atomic.Bool
}

func (f *full) Commit(sealed, open []buffer.Record, p buffer.Progress) error {
	if f.isFull.Load() {
		return errors.New("no space left on device")
	}
	return f.store.Commit(sealed, open, p)
}

// TestFlushOnFullDisk: it does not wait longer than it may, and the batch is written later.
func TestFlushOnFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &full{store: &store{}}
		st.isFull.Store(true)
		s := sealerOn(st)
		captures := []*collect.Capture{captureOf("all", 1, protocol.CS1, time.Hour)}
		in := make(chan *collect.Block)
		ended := make(chan error)
		go func() { ended <- s.Run(t.Context(), in) }()
		in <- blockOf(captures, 1, start, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		synctest.Wait()
		if err := s.Alive(t.Context()); err != nil {
			t.Errorf("waiting for the disk: got %v, want alive", err)
		}
		st.isFull.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(st.sealed) != 1 {
			t.Errorf("got %d sealed, want the one", len(st.sealed))
		}
		close(in)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// stuck is a store that does not return.
type stuck struct {
	*store
	release chan struct{}
}

func (s stuck) Commit(sealed, open []buffer.Record, p buffer.Progress) error {
	<-s.release
	return s.store.Commit(sealed, open, p)
}

// TestAliveWhenStuck: a write that never returns shows.
func TestAliveWhenStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := stuck{&store{}, make(chan struct{})}
		s := sealerOn(st)
		captures := []*collect.Capture{captureOf("all", 1, protocol.CS1, time.Hour)}
		in := make(chan *collect.Block)
		ended := make(chan error)
		go func() { ended <- s.Run(t.Context(), in) }()
		in <- blockOf(captures, 1, start, 0)
		time.Sleep(time.Minute) // its commit is due
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		close(st.release)
		close(in)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
