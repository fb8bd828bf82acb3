// Package canbustest is the suite that every driver of canbus.Bus passes.
//
// It knows no driver. A driver's own test opens a bus and says how frames get
// onto it from outside.
package canbustest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// Open gives a fresh bus and a function that puts frames on it from outside,
// in order, without waiting for the bus to be read. It cleans up by t.Cleanup.
type Open func(t *testing.T) (bus canbus.Bus, send func(frames []can.Frame))

// patience bounds every wait of the suite.
const patience = 10 * time.Second

// Frames of the tests that need a few, and of the one that floods the bus.
const (
	few   = 1000
	flood = 60_000
)

// Run runs the suite. Each test opens its own bus.
func Run(t *testing.T, open Open) {
	tests := []struct {
		name string
		test func(*testing.T, canbus.Bus, func([]can.Frame))
	}{
		{"order", order},
		{"kinds of frames", kinds},
		{"batch is filled", batch},
		{"no room", noRoom},
		{"context that has ended", endedContext},
		{"context ends during receive", contextEnds},
		{"receive goes on after a context", goesOn},
		{"close during receive", closeDuring},
		{"receive after close", afterClose},
		{"statistics add up", statistics},
		{"drops are counted", drops},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bus, send := open(t)
			test.test(t, bus, send)
		})
	}
}

// Numbered makes n frames that carry their number, from first on, in identifier, data and time.
func Numbered(first, n int) []can.Frame {
	frames := make([]can.Frame, n)
	for i := range frames {
		k := first + i
		frames[i] = can.Frame{Time: int64(k) * 250, ID: can.ID(k) & can.StandardMask, Len: 4, Data: [can.MaxData]byte{byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}}
	}
	return frames
}

// Number gives the number that Numbered put into f.
func Number(f *can.Frame) int {
	return int(f.Data[0])<<24 | int(f.Data[1])<<16 | int(f.Data[2])<<8 | int(f.Data[3])
}

// receive reads until n frames have come, through buffers of size.
func receive(t *testing.T, bus canbus.Bus, n, size int) []can.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []can.Frame
	for len(all) < n {
		buf := make([]can.Frame, size)
		m, err := bus.Receive(ctx, buf)
		all = append(all, buf[:m]...)
		if err != nil {
			t.Fatalf("receive after %d of %d frames: %v", len(all), n, err)
		}
		if m == 0 {
			t.Fatalf("receive gave no frame and no error")
		}
	}
	return all
}

func equal(t *testing.T, got, want []can.Frame) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d frames, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("frame %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func order(t *testing.T, bus canbus.Bus, send func([]can.Frame)) {
	want := Numbered(0, few)
	for chunk := range slices.Chunk(want, 77) {
		send(chunk)
	}
	equal(t, receive(t, bus, few, 64), want)
}

func kinds(t *testing.T, bus canbus.Bus, send func([]can.Frame)) {
	fd := can.Frame{Time: 3, ID: 0x123, Flags: can.FD | can.BRS, Len: 64}
	for i := range fd.Data {
		fd.Data[i] = byte(255 - i)
	}
	want := []can.Frame{
		{Time: 1, ID: 0x7FF, Len: 8, Data: [64]byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{Time: 2, ID: 0x18FEF100 | can.Extended, Len: 1, Data: [64]byte{0xFF}},
		fd,
		{Time: 4, ID: 1 | can.Extended, Flags: can.FD | can.ESI, Len: 12, Data: [64]byte{11: 7}},
		{Time: 5, ID: 0},
	}
	send(want)
	equal(t, receive(t, bus, len(want), 8), want)
}

// batch checks that a Receive with much room takes what is there, in few calls.
func batch(t *testing.T, bus canbus.Bus, send func([]can.Frame)) {
	want := Numbered(0, few)
	send(want)
	receive(t, bus, 1, 1)
	time.Sleep(100 * time.Millisecond) // the rest arrives
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	buf, got, calls := make([]can.Frame, few), 1, 0
	for ; got < few; calls++ {
		n, err := bus.Receive(ctx, buf)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if calls > few/20 {
		t.Errorf("got %d frames in %d calls, want at least 20 frames a call", few, calls)
	}
}

func noRoom(t *testing.T, bus canbus.Bus, send func([]can.Frame)) {
	send(Numbered(0, 1))
	if n, err := bus.Receive(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("receive without room: got %d, %v, want 0 and no error", n, err)
	}
	equal(t, receive(t, bus, 1, 1), Numbered(0, 1))
}

func endedContext(t *testing.T, bus canbus.Bus, send func([]can.Frame)) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	send(Numbered(0, 1))
	buf := make([]can.Frame, 4)
	for range 3 { // frames that came before the error may come first
		n, err := bus.Receive(ctx, buf)
		if errors.Is(err, context.Canceled) {
			return
		}
		if err != nil || n == 0 {
			t.Fatalf("got %d, %v, want %v", n, err, context.Canceled)
		}
	}
	t.Errorf("receive does not notice that its context has ended")
}

func contextEnds(t *testing.T, bus canbus.Bus, _ func([]can.Frame)) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	n, err := bus.Receive(ctx, make([]can.Frame, 4))
	if n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %d, %v, want 0, %v", n, err, context.DeadlineExceeded)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("receive returned %v after its context", took)
	}
}

func goesOn(t *testing.T, bus canbus.Bus, send func([]can.Frame)) {
	want := Numbered(0, 50)
	for i := range want {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if n, err := bus.Receive(ctx, make([]can.Frame, 4)); n != 0 || err == nil {
			t.Fatalf("empty bus: got %d, %v, want 0 and an error", n, err)
		}
		cancel()
		send(want[i : i+1])
		equal(t, receive(t, bus, 1, 4), want[i:i+1])
	}
}

func closeDuring(t *testing.T, bus canbus.Bus, _ func([]can.Frame)) {
	failed := make(chan error, 1)
	go func() {
		_, err := bus.Receive(t.Context(), make([]can.Frame, 4))
		failed <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := bus.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if err == nil {
			t.Errorf("receive of a closed bus gave no error")
		}
	case <-time.After(patience):
		t.Fatal("receive still waits after close")
	}
}

func afterClose(t *testing.T, bus canbus.Bus, _ func([]can.Frame)) {
	if err := bus.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := bus.Receive(t.Context(), make([]can.Frame, 4)); n != 0 || err == nil {
		t.Errorf("got %d, %v, want 0 and an error", n, err)
	}
	bus.Stats() // still answers
}

// statistics checks the counters while frames come, read by several goroutines at once.
func statistics(t *testing.T, bus canbus.Bus, send func([]can.Frame)) {
	if s := bus.Stats(); s != (canbus.Stats{}) {
		t.Errorf("fresh bus: got %+v, want zero", s)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			last := canbus.Stats{}
			for {
				s := bus.Stats()
				if s.Received < last.Received || s.Dropped < last.Dropped {
					t.Errorf("counters went back from %+v to %+v", last, s)
				}
				last = s
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Microsecond):
				}
			}
		})
	}
	for i := range 10 {
		send(Numbered(100*i, 100))
		receive(t, bus, 100, 30)
		if s := bus.Stats(); s.Received != uint64(100*(i+1)) || s.Dropped != 0 {
			t.Errorf("got %+v, want %d received and none dropped", s, 100*(i+1))
		}
	}
	close(stop)
	readers.Wait()
}

// drops floods the bus while nobody reads: what is handed out is in order, and with what is counted as dropped it is all.
func drops(t *testing.T, bus canbus.Bus, send func([]can.Frame)) {
	for first := 0; first < flood; first += 500 {
		send(Numbered(first, 500))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	buf, last, got := make([]can.Frame, 256), -1, 0
	for {
		s := bus.Stats()
		if s.Received != uint64(got) {
			t.Fatalf("got %+v after %d frames", s, got)
		}
		if s.Received+s.Dropped >= flood {
			if s.Received+s.Dropped > flood || last != flood-1 {
				t.Errorf("got %+v and last frame %d, want %d frames in all", s, last, flood)
			}
			t.Logf("%+v", s)
			return
		}
		n, err := bus.Receive(ctx, buf)
		if err != nil {
			t.Fatalf("got %v after %d frames with %+v", err, got, s)
		}
		missing := bus.Stats().Dropped - s.Dropped
		for i := range buf[:n] {
			k := Number(&buf[i])
			if k <= last {
				t.Fatalf("frame %d came after frame %d", k, last)
			}
			missing -= uint64(k - last - 1)
			last = k
		}
		if missing != 0 {
			t.Fatalf("the drops counted with a batch differ by %d from those seen", int64(missing))
		}
		got += n
	}
}
