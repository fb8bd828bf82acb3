package frames_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/agent/frames"
	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/replay"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func numbered(from, n int) (list []can.Frame) {
	for i := range n {
		list = append(list, can.Frame{Time: int64(from + i), ID: can.ID(i % 2048), Len: 1})
	}
	return list
}

// hub runs a virtual hub until stop is called.
func hub(t *testing.T, address string) (h *virtual.Hub, stop func()) {
	t.Helper()
	h, err := virtual.Listen(address, virtual.Config{Buses: []string{"can0", "can1"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = h.Run(ctx); close(ended) }()
	return h, func() { cancel(); <-ended }
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 10 s: " + what)
		}
	}
}

// TestReattach: when the hub dies and another takes its place, reading goes on
// and the counters with it.
func TestReattach(t *testing.T) {
	address := filepath.Join(t.TempDir(), "hub.sock")
	h, stop := hub(t, address)
	var inputs []frames.Input
	for _, name := range []string{"can0", "can1"} {
		inputs = append(inputs, frames.Input{Name: name, Open: func(ctx context.Context) (canbus.Bus, error) {
			return virtual.Dial(ctx, (virtual.Address{Network: "unix", Host: address, Bus: name}).URL())
		}})
	}
	r := frames.New(frames.Config{Inputs: inputs, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan *frames.Block)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, out) }()
	var got [2]atomic.Uint64
	read := make(chan struct{})
	go func() {
		defer close(read)
		for b := range out {
			total := got[b.Bus].Add(uint64(len(b.Frames)))
			if b.Received != total || b.Dropped != 0 {
				t.Errorf("bus %d: block says %d received and %d dropped, want %d and 0", b.Bus, b.Received, b.Dropped, total)
			}
			r.Release(b)
		}
	}()
	const rounds, each = 3, 1000
	for round := range rounds {
		eventually(t, "both buses attached", func() bool { return r.Attached() == 2 })
		h.Bus("can0").Send(numbered(round*each, each))
		h.Bus("can1").Send(numbered(round*each, each/2))
		eventually(t, "all frames read", func() bool {
			return got[0].Load() == uint64((round+1)*each) && got[1].Load() == uint64((round+1)*each/2)
		})
		stop()
		eventually(t, "no bus attached", func() bool { return r.Attached() == 0 })
		h, stop = hub(t, address)
	}
	stop()
	cancel()
	<-read
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestNothingReceivedIsLost: what was received is handed on, also when ctx has ended meanwhile.
func TestNothingReceivedIsLost(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var bus canbus.Bus
	r := frames.New(frames.Config{Log: slog.New(slog.DiscardHandler), Inputs: []frames.Input{{Name: "can0", Open: func(context.Context) (canbus.Bus, error) {
		if bus != nil {
			return nil, errors.New("used up")
		}
		b, err := replay.New(replay.Config{Name: "can0", Source: replay.List(numbered(0, 5000))})
		bus = b
		return b, err
	}}}})
	out := make(chan *frames.Block) // nobody reads yet
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, out) }()
	b := <-out
	at := b.Received
	r.Release(b)
	eventually(t, "another block received", func() bool { return bus.Stats().Received > at })
	cancel()
	for b := range out {
		if b.Frames[0].Time != int64(at) {
			t.Errorf("got frame %d, want %d", b.Frames[0].Time, at)
		}
		at = b.Received
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := bus.Stats().Received; got != at {
		t.Errorf("%d frames received, %d handed on", got, at)
	}
}

// flooded is a bus that loses frames behind the last one that it hands out.
type flooded struct {
	canbus.Bus
	calls   int
	dropped uint64
}

func (f *flooded) Receive(ctx context.Context, list []can.Frame) (int, error) {
	if f.calls++; f.calls == 1 {
		f.dropped = 2
		return copy(list, numbered(7, 3)), nil
	}
	<-ctx.Done()
	f.dropped = 9
	return 0, ctx.Err()
}

func (f *flooded) Stats() canbus.Stats { return canbus.Stats{Received: 3, Dropped: f.dropped} }
func (*flooded) Close() error          { return nil }

// TestDropsBehindTheLastFrame: a block without frames tells of them.
func TestDropsBehindTheLastFrame(t *testing.T) {
	r := frames.New(frames.Config{Log: slog.New(slog.DiscardHandler), Inputs: []frames.Input{{Name: "can0", Open: func(context.Context) (canbus.Bus, error) {
		return &flooded{}, nil
	}}}})
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(chan *frames.Block), make(chan error, 1)
	go func() { ended <- r.Run(ctx, out) }()
	if b := <-out; len(b.Frames) != 3 || b.Received != 3 || b.Dropped != 2 {
		t.Errorf("got %d frames, %d received, %d dropped, want 3, 3 and 2", len(b.Frames), b.Received, b.Dropped)
	}
	cancel()
	if b := <-out; b == nil || len(b.Frames) != 0 || b.Received != 3 || b.Dropped != 9 {
		t.Errorf("got %+v, want no frames, 3 received, 9 dropped", b)
	}
	if b, open := <-out; open {
		t.Errorf("got %+v, want the end", b)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// gapped is a bus that hands out a frame at a time: the second behind lost ones, the third behind other filters; then it ends.
type gapped struct {
	canbus.Bus
	calls  int
	narrow func()
}

func (g *gapped) Receive(_ context.Context, list []can.Frame) (int, error) {
	g.calls++
	switch g.calls {
	case 4:
		g.narrow()
	case 6:
		return 0, io.EOF
	}
	return copy(list, numbered(g.calls, 1)), nil
}

func (g *gapped) Stats() canbus.Stats {
	return canbus.Stats{Received: uint64(g.calls), Dropped: map[bool]uint64{true: 5}[g.calls >= 2]}
}
func (*gapped) Close() error                  { return nil }
func (*gapped) MaxFilters() int               { return 8 }
func (*gapped) SetFilters([]can.Filter) error { return nil }

// TestGap: a block says when frames may be missing in front of it: at the start of each attachment, where frames were lost, and
// where the filters have changed; filters that are given again change nothing.
func TestGap(t *testing.T) {
	var r *frames.Reader
	narrow := func() { r.SetFilters(0, []can.Filter{can.ExactFilter(1)}) }
	r = frames.New(frames.Config{Log: slog.New(slog.DiscardHandler), Inputs: []frames.Input{{Name: "can0", Open: func(context.Context) (canbus.Bus, error) {
		return &gapped{narrow: narrow}, nil
	}}}})
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(chan *frames.Block), make(chan error, 1)
	go func() { ended <- r.Run(ctx, out) }()
	for n, changed := range []bool{true, false} { // the second attachment begins with the filters that it is given again
		for i, want := range []bool{true, true, false, changed, false} {
			if b := <-out; b.Gap != want {
				t.Errorf("attachment %d, block %d: got gap %v, want %v", n, i, b.Gap, want)
			}
		}
	}
	cancel()
	for range out {
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
