package replay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/canbustest"
	"telltale.dev/hal/canbus/replay"
	"telltale.dev/protocol/can"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queue is a source that grows while it is played.
type queue struct {
	mu    sync.Mutex
	all   []can.Frame
	grown chan struct{} // capacity 1
}

func (q *queue) send(frames []can.Frame) {
	q.mu.Lock()
	q.all = append(q.all, frames...)
	q.mu.Unlock()
	select {
	case q.grown <- struct{}{}:
	default:
	}
}

func (q *queue) Next(ctx context.Context, frames []can.Frame) (int, error) {
	for {
		q.mu.Lock()
		n := copy(frames, q.all)
		q.all = q.all[n:]
		q.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-q.grown:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func open(t testing.TB, cfg replay.Config) *replay.Bus {
	t.Helper()
	bus, err := replay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return bus
}

func TestSuite(t *testing.T) {
	for name, speed := range map[string]float64{"as fast as possible": 0, "timed": 1e6} {
		t.Run(name, func(t *testing.T) {
			canbustest.Run(t, func(t *testing.T) (canbus.Bus, func([]can.Frame)) {
				q := &queue{grown: make(chan struct{}, 1)}
				return open(t, replay.Config{Name: "can0", Source: q, Speed: speed}), q.send
			})
		})
	}
}

// drain reads a bus to its end.
func drain(t testing.TB, bus canbus.Bus) ([]can.Frame, error) {
	t.Helper()
	var all []can.Frame
	buf := make([]can.Frame, 100)
	for {
		n, err := bus.Receive(t.Context(), buf)
		all = append(all, buf[:n]...)
		if err != nil {
			return all, err
		}
	}
}

func TestSources(t *testing.T) {
	want := canbustest.Numbered(0, 1000)
	for name, source := range map[string]replay.Source{
		"list":     replay.List(want),
		"sequence": replay.Sequence(slices.Values(want)),
	} {
		t.Run(name, func(t *testing.T) {
			bus := open(t, replay.Config{Source: source})
			got, err := drain(t, bus)
			if err != io.EOF || !slices.Equal(got, want) {
				t.Errorf("got %d frames, %v, want %d and io.EOF", len(got), err, len(want))
			}
			if _, err := bus.Receive(t.Context(), make([]can.Frame, 1)); err != io.EOF {
				t.Errorf("behind the end: got %v, want io.EOF", err)
			}
			if s := bus.Stats(); s.Received != 1000 {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// broken gives frames and an error at once.
type broken struct{}

var errBroken = errors.New("line 7 is no frame")

func (broken) Next(_ context.Context, frames []can.Frame) (int, error) {
	return copy(frames, canbustest.Numbered(0, 3)), errBroken
}

func TestSourceFails(t *testing.T) {
	got, err := drain(t, open(t, replay.Config{Name: "can0", Source: broken{}}))
	if len(got) != 3 || !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "can0") {
		t.Errorf("got %d frames, %v, want 3 and %v", len(got), err, errBroken)
	}
}

func TestTiming(t *testing.T) {
	frames := []can.Frame{{Time: 5_000_000}, {Time: 5_200_000}, {Time: 5_200_001}, {Time: 5_100_000}, {Time: 5_400_000}}
	bus := open(t, replay.Config{Source: replay.List(frames), Speed: 4})
	start := time.Now()
	var batches []int
	last := int64(0) // the latest recorded time so far, µs
	buf := make([]can.Frame, 10)
	for {
		n, err := bus.Receive(t.Context(), buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, n)
		for _, f := range buf[:n] {
			last = max(last, f.Time)
		}
		if due := time.Duration(last-frames[0].Time) * time.Microsecond / 4; time.Since(start) < due {
			t.Errorf("got a frame after %v that is due after %v", time.Since(start), due)
		}
	}
	if took := time.Since(start); took < 100*time.Millisecond || took > time.Minute {
		t.Errorf("0.4 s at speed 4 took %v", took)
	}
	if len(batches) < 2 || batches[0] != 1 { // a slow machine may get the others together
		t.Errorf("got batches %v, want the first frame alone", batches)
	}
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]replay.Config{"no source": {}, "speed": {Source: replay.List(nil), Speed: -1}} {
		if _, err := replay.New(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// ExampleNew plays two frames.
func ExampleNew() {
	bus, err := replay.New(replay.Config{Name: "can0", Source: replay.List([]can.Frame{{ID: 0x123}, {ID: 0x124}})})
	if err != nil {
		panic(err)
	}
	defer bus.Close()
	frames := make([]can.Frame, 8)
	n, err := bus.Receive(context.Background(), frames)
	fmt.Println(n, err)
	// Output: 2 <nil>
}
