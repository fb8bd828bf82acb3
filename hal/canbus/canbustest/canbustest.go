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

// Option tells the suite how a driver differs.
type Option func(*subject)

// OwnTimes is for a driver that stamps frames itself: the times then need not
// be the sent ones, but lie between the sending and now, and go back by little.
func OwnTimes() Option { return func(s *subject) { s.ownTimes = true } }

// KeepsOldest is for a driver whose full queue loses the newest frames instead
// of the oldest. The flood's last frame is then sent when there is room again.
func KeepsOldest() Option { return func(s *subject) { s.keepsOldest = true } }

// subject is one bus under test.
type subject struct {
	canbus.Bus
	send        func(frames []can.Frame)
	opened      int64 // µs since the Unix epoch
	ownTimes    bool
	keepsOldest bool
}

// Run runs the suite. Each test opens its own bus.
func Run(t *testing.T, open Open, options ...Option) {
	tests := []struct {
		name string
		test func(*testing.T, *subject)
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
		{"filters", filters},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &subject{opened: time.Now().UnixMicro()}
			s.Bus, s.send = open(t)
			for _, o := range options {
				o(s)
			}
			test.test(t, s)
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
func (s *subject) receive(t *testing.T, n, size int) []can.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []can.Frame
	for len(all) < n {
		buf := make([]can.Frame, size)
		m, err := s.Receive(ctx, buf)
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

// equal compares what was received with what was sent.
func (s *subject) equal(t *testing.T, got, want []can.Frame) {
	t.Helper()
	if s.ownTimes {
		s.checkTimes(t, got)
		want = slices.Clone(want)
		for i := range min(len(got), len(want)) {
			want[i].Time = got[i].Time
		}
	}
	if len(got) != len(want) {
		t.Fatalf("got %d frames, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("frame %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

// overtaking bounds how far times may go back, in µs: two processors of a kernel may hand on what they took in either order.
const overtaking = 100_000

// checkTimes looks at the times that the driver gave.
func (s *subject) checkTimes(t *testing.T, got []can.Frame) {
	t.Helper()
	last, now := s.opened, time.Now().UnixMicro()
	for i := range got {
		if at := got[i].Time; at < s.opened || at < last-overtaking || at > now {
			t.Fatalf("frame %d: got time %d µs, want from %d to %d", i, at, max(s.opened, last-overtaking), now)
		}
		last = got[i].Time
	}
}

func order(t *testing.T, s *subject) {
	want := Numbered(0, few)
	for chunk := range slices.Chunk(want, 77) {
		s.send(chunk)
	}
	s.equal(t, s.receive(t, few, 64), want)
}

func kinds(t *testing.T, s *subject) {
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
		{Time: 6, ID: 0x321, Flags: can.Remote, Len: 4},
	}
	s.send(want)
	s.equal(t, s.receive(t, len(want), 8), want)
}

// batch checks that a Receive with much room takes what is there, in few calls.
func batch(t *testing.T, s *subject) {
	want := Numbered(0, few)
	s.send(want)
	s.receive(t, 1, 1)
	time.Sleep(100 * time.Millisecond) // the rest arrives
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	buf, got, calls := make([]can.Frame, few), 1, 0
	for ; got < few; calls++ {
		n, err := s.Receive(ctx, buf)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if calls > few/20 {
		t.Errorf("got %d frames in %d calls, want at least 20 frames a call", few, calls)
	}
}

func noRoom(t *testing.T, s *subject) {
	s.send(Numbered(0, 1))
	if n, err := s.Receive(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("receive without room: got %d, %v, want 0 and no error", n, err)
	}
	s.equal(t, s.receive(t, 1, 1), Numbered(0, 1))
}

func endedContext(t *testing.T, s *subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.send(Numbered(0, 1))
	buf := make([]can.Frame, 4)
	for range 3 { // frames that came before the error may come first
		n, err := s.Receive(ctx, buf)
		if errors.Is(err, context.Canceled) {
			return
		}
		if err != nil || n == 0 {
			t.Fatalf("got %d, %v, want %v", n, err, context.Canceled)
		}
	}
	t.Errorf("receive does not notice that its context has ended")
}

func contextEnds(t *testing.T, s *subject) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	n, err := s.Receive(ctx, make([]can.Frame, 4))
	if n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %d, %v, want 0, %v", n, err, context.DeadlineExceeded)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("receive returned %v after its context", took)
	}
}

func goesOn(t *testing.T, s *subject) {
	want := Numbered(0, 50)
	for i := range want {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if n, err := s.Receive(ctx, make([]can.Frame, 4)); n != 0 || err == nil {
			t.Fatalf("empty bus: got %d, %v, want 0 and an error", n, err)
		}
		cancel()
		s.send(want[i : i+1])
		s.equal(t, s.receive(t, 1, 4), want[i:i+1])
	}
}

func closeDuring(t *testing.T, s *subject) {
	failed := make(chan error, 1)
	go func() {
		_, err := s.Receive(t.Context(), make([]can.Frame, 4))
		failed <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
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

func afterClose(t *testing.T, s *subject) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Receive(t.Context(), make([]can.Frame, 4)); n != 0 || err == nil {
		t.Errorf("got %d, %v, want 0 and an error", n, err)
	}
	s.Stats() // still answers
}

// statistics checks the counters while frames come, read by several goroutines at once.
func statistics(t *testing.T, s *subject) {
	if c := s.Stats(); c != (canbus.Stats{}) {
		t.Errorf("fresh bus: got %+v, want zero", c)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			last := canbus.Stats{}
			for {
				c := s.Stats()
				if c.Received < last.Received || c.Dropped < last.Dropped {
					t.Errorf("counters went back from %+v to %+v", last, c)
				}
				last = c
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Microsecond):
				}
			}
		})
	}
	for i := range 10 {
		s.send(Numbered(100*i, 100))
		s.receive(t, 100, 30)
		if c := s.Stats(); c.Received != uint64(100*(i+1)) || c.Dropped != 0 {
			t.Errorf("got %+v, want %d received and none dropped", c, 100*(i+1))
		}
	}
	close(stop)
	readers.Wait()
}

// drops floods the bus while nobody reads: what is handed out is in order, and with what is counted as dropped it is all.
func drops(t *testing.T, s *subject) {
	total := flood
	for first := 0; first < flood; first += 500 {
		s.send(Numbered(first, 500))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	buf, last, got := make([]can.Frame, 256), -1, 0
	for {
		c := s.Stats()
		if c.Received != uint64(got) {
			t.Fatalf("got %+v after %d frames", c, got)
		}
		if s.keepsOldest && got > 0 && total == flood {
			s.send(Numbered(flood, 1))
			total++
		}
		if c.Received+c.Dropped >= uint64(total) {
			if c.Received+c.Dropped > uint64(total) || last != total-1 {
				t.Errorf("got %+v and last frame %d, want %d frames in all", c, last, total)
			}
			t.Logf("%+v", c)
			return
		}
		n, err := s.Receive(ctx, buf)
		if err != nil {
			t.Fatalf("got %v after %d frames with %+v", err, got, c)
		}
		missing := s.Stats().Dropped - c.Dropped
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

// filters checks the optional canbus.Filterer: what is not wanted is neither handed out nor counted.
func filters(t *testing.T, s *subject) {
	f, ok := canbus.As[canbus.Filterer](s.Bus)
	if !ok {
		t.Skip("the driver cannot filter; canbus.Filterer is optional")
	}
	standard := can.Frame{ID: 0x123, Len: 1}
	extended := can.Frame{ID: 0x123 | can.Extended, Len: 2}
	group := can.Frame{ID: 0x18FEF100 | can.Extended, Len: 3}
	fd := can.Frame{ID: 0x124, Flags: can.FD, Len: 12}
	remote := can.Frame{ID: 0x123, Flags: can.Remote, Len: 1}
	all := []can.Frame{standard, extended, group, fd, remote}
	tooMany := make([]can.Filter, f.MaxFilters()+1)
	received := uint64(0)
	tests := []struct {
		name    string
		filters []can.Filter
		want    []can.Frame
	}{
		{"exact", []can.Filter{can.ExactFilter(standard.ID)}, []can.Frame{standard}},
		{"extended", []can.Filter{can.ExactFilter(extended.ID)}, []can.Frame{extended}},
		{"group from another address", []can.Filter{can.GroupFilter(0x0CFEF155 | can.Extended)}, []can.Frame{group}},
		{"several that overlap", []can.Filter{can.ExactFilter(fd.ID), can.ExactFilter(standard.ID), {ID: 0x122, Mask: can.Extended | 0x7FE}}, []can.Frame{standard, fd}},
		{"everything", nil, all},
		{"nothing", []can.Filter{}, nil},
		{"mask of both formats", []can.Filter{{ID: 0x123, Mask: 0x7FF}}, []can.Frame{standard, extended}},
	}
	for _, c := range tests {
		if err := f.SetFilters(c.filters); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := f.SetFilters(tooMany); err == nil {
			t.Errorf("%s: %d filters are taken, and %d are said to be the most", c.name, len(tooMany), f.MaxFilters())
		}
		for range 50 {
			s.send(all)
		}
		want := slices.Repeat(c.want, 50)
		if len(want) > 0 {
			s.equal(t, s.receive(t, len(want), 300), want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if n, err := s.Receive(ctx, make([]can.Frame, 4)); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %d frames more, %v", c.name, n, err)
		}
		cancel()
		received += uint64(len(want))
		if got := s.Stats(); got != (canbus.Stats{Received: received}) {
			t.Errorf("%s: got %+v, want %d received", c.name, got, received)
		}
	}
}
