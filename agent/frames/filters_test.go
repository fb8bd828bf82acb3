package frames_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"telltale.dev/agent/frames"
	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// sieve is a bus that filters what is put on it, and remembers the filters over attachments.
type sieve struct {
	mu      sync.Mutex // guards all below
	most    int
	history [][]can.Filter
	frames  chan can.Frame
	errors  canbus.Errors
}

type attached struct {
	*sieve
	received uint64
}

func (s *sieve) open(context.Context) (canbus.Bus, error) { return &attached{sieve: s}, nil }

func (a *attached) Receive(ctx context.Context, list []can.Frame) (int, error) {
	for {
		select {
		case f, ok := <-a.frames:
			if !ok {
				a.frames = make(chan can.Frame) // the next one finds it silent
				return 0, io.EOF
			}
			if filters := a.last(); filters == nil || slices.ContainsFunc(filters, func(x can.Filter) bool { return x.Match(f.ID) }) {
				list[0] = f
				a.received++
				return 1, nil
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (s *sieve) last() []can.Filter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.history) == 0 {
		return nil
	}
	return s.history[len(s.history)-1]
}

func (s *sieve) SetFilters(f []can.Filter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, f)
	return nil
}

func (s *sieve) MaxFilters() int           { return s.most }
func (s *sieve) Errors() canbus.Errors     { return s.errors }
func (*sieve) Link() (canbus.Link, error)  { return canbus.Link{}, nil }
func (a *attached) Stats() canbus.Stats    { return canbus.Stats{Received: a.received} }
func (*attached) Close() error             { return nil }
func exact(ids ...can.ID) (l []can.Filter) { return appendExact(l, ids) }
func appendExact(l []can.Filter, ids []can.ID) []can.Filter {
	for _, id := range ids {
		l = append(l, can.ExactFilter(id))
	}
	return l
}

// TestFilters: they hold for a bus that is attached and for each later
// attachment, are narrowed to what the driver can do, and one line says so.
func TestFilters(t *testing.T) {
	s := &sieve{most: 4, frames: make(chan can.Frame), errors: canbus.Errors{BusOff: 1}}
	lines := &log{}
	r := frames.New(frames.Config{Inputs: []frames.Input{{Name: "can0", Open: s.open}}, Log: slog.New(slog.NewTextHandler(lines, nil))})
	r.SetFilters(0, exact(1, 2)) // before there is a bus
	out, ended := make(chan *frames.Block), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- r.Run(ctx, out) }()
	state := func(filters string) {
		t.Helper()
		eventually(t, "attached with "+filters, func() bool { b := r.Buses()[0]; return b.Attached && b.Filters == filters })
	}
	state("2 filters")
	s.frames <- can.Frame{ID: 3, Time: 7}
	s.frames <- can.Frame{ID: 2, Time: 8}
	if b := <-out; b.Frames[0].ID != 2 || b.Received != 1 {
		t.Errorf("got %+v, %d received", b.Frames, b.Received)
	}
	r.SetFilters(0, exact(8, 9, 10, 11, 12))
	state("4 filters") // 8 and 9 can be one, without loss
	r.SetFilters(0, exact(0, 0x13, 0x55, 0x180, 0x20F))
	state("4 masks for 5 wanted identifiers: some others pass, too")
	s.most = 0
	r.SetFilters(0, exact(1))
	state("everything: 1 identifiers are wanted, too many for 0 filters")
	s.most = 4
	r.SetFilters(0, []can.Filter{})
	state("0 filters")
	old := s.frames
	close(old) // the bus is lost and comes again
	eventually(t, "attached again", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.history) == 6 })
	state("0 filters")
	if last := s.last(); last == nil || len(last) != 0 {
		t.Errorf("attached again with filters %v, want an empty list", last)
	}
	r.SetFilters(0, nil)
	state("everything")
	if last := s.last(); last != nil {
		t.Errorf("got filters %v, want nil", last)
	}
	if got := r.Buses()[0]; got.Received != 1 || got.First != 8 || got.Errors.BusOff != 2 || got.Failure != "" {
		t.Errorf("got %+v", got)
	}
	cancel()
	for range out {
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := strings.Count(lines.text(), "bus filters"); n != 6 {
		t.Errorf("%d lines about filters, want one for each change:\n%s", n, lines.text())
	}
}

// log is a buffer for several goroutines.
type log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestConfigurationMistakeEndsRun: what no waiting can help ends all buses with one error; other failures are waited out.
func TestConfigurationMistakeEndsRun(t *testing.T) {
	s := &sieve{frames: make(chan can.Frame)}
	tries := 0
	r := frames.New(frames.Config{Log: slog.New(slog.DiscardHandler), Inputs: []frames.Input{
		{Name: "can0", Open: s.open},
		{Name: "can1", Open: func(context.Context) (canbus.Bus, error) {
			if tries++; tries < 3 {
				return nil, errors.New("not there yet")
			}
			return nil, fmt.Errorf("%w: it is a toaster", canbus.ErrConfig)
		}},
	}})
	out := make(chan *frames.Block)
	go func() {
		for range out {
		}
	}()
	err := r.Run(t.Context(), out)
	if !errors.Is(err, canbus.ErrConfig) || err.Error() != "bus can1: bus configuration: it is a toaster" || tries != 3 {
		t.Errorf("got %v after %d tries", err, tries)
	}
	if got := r.Buses()[1]; got.Attached || got.Failure != "not there yet" {
		t.Errorf("got %+v", got)
	}
}
