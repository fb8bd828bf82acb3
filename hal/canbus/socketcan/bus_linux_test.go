package socketcan_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/canbustest"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
)

func TestSuite(t *testing.T) {
	vcan(t) // skips all of it where there is none
	canbustest.Run(t, func(t *testing.T) (canbus.Bus, func([]can.Frame)) {
		name := vcan(t)
		sender := open(t, socketcan.Options{Interface: name})
		return open(t, socketcan.Options{Interface: name}), func(frames []can.Frame) { send(t, sender, frames...) }
	}, canbustest.OwnTimes(), canbustest.KeepsOldest())
}

func TestEverybodyElseReceives(t *testing.T) {
	name, elsewhere := vcan(t), vcan(t)
	a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name})
	other := open(t, socketcan.Options{Interface: elsewhere})
	send(t, a, canbustest.Numbered(0, 300)...)
	got := receive(t, b, 300)
	if canbustest.Number(&got[0]) != 0 || canbustest.Number(&got[299]) != 299 {
		t.Errorf("got frames %d to %d, want 0 to 299", canbustest.Number(&got[0]), canbustest.Number(&got[299]))
	}
	silent(t, a)
	silent(t, other)
}

// TestTimes: the stamps are of the kernel, from when each frame came, not of the reading.
func TestTimes(t *testing.T) {
	name := vcan(t)
	a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name})
	stamping(t, a, b)
	var around []int64 // before and after each sending
	for i := range 20 {
		around = append(around, time.Now().UnixMicro())
		send(t, a, canbustest.Numbered(i, 1)...)
		around = append(around, time.Now().UnixMicro())
		time.Sleep(2 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	last := int64(0)
	for i, f := range receive(t, b, 20) {
		if f.Time < around[2*i] || f.Time > around[2*i+1] || f.Time < last {
			t.Errorf("frame %d: got time %d, want %d to %d", i, f.Time, around[2*i], around[2*i+1])
		}
		last = f.Time
	}
}

// TestTimesWhenTheClockIsSetBack: they are the kernel's as they are, so that
// every reader has the same, however many frames it takes at once.
func TestTimesWhenTheClockIsSetBack(t *testing.T) {
	if !mustRun() {
		t.Skip("sets the clock of the machine: in the virtual machine only (make test-vm)")
	}
	name := vcan(t)
	a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name})
	stamping(t, a, b)
	c := open(t, socketcan.Options{Interface: name})
	shift := func(d time.Duration) {
		now := unix.NsecToTimeval(time.Now().Add(d).UnixNano())
		if err := unix.Settimeofday(&now); err != nil {
			t.Fatal(err)
		}
	}
	send(t, a, canbustest.Numbered(0, 10)...)
	shift(-time.Hour)
	defer shift(time.Hour)
	send(t, a, canbustest.Numbered(10, 10)...)
	frames := make([]can.Frame, 64)
	n, err := b.Receive(t.Context(), frames)
	if n != 20 || err != nil {
		t.Fatalf("got %d frames, %v, want 20 at once", n, err)
	}
	for i := range n {
		if one := receive(t, c, 1)[0]; one != frames[i] {
			t.Errorf("frame %d: got %+v alone, and %+v with others", i, one, frames[i])
		}
	}
	if back := frames[9].Time - frames[10].Time; back < 3_500_000_000 {
		t.Errorf("got a time %d µs behind, want the new time of the clock", back)
	}
}

// TestFilteredFramesStayInTheKernel asks the kernel how many frames it handed to the socket's filters.
func TestFilteredFramesStayInTheKernel(t *testing.T) {
	name := vcan(t)
	a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name})
	if err := a.SetFilters([]can.Filter{}); err != nil { // its reader would count, too
		t.Fatal(err)
	}
	wanted := []can.Filter{can.ExactFilter(0x100), can.ExactFilter(0x18FEF100 | can.Extended), can.GroupFilter(0x18F00400 | can.Extended)}
	if err := b.SetFilters(wanted); err != nil {
		t.Fatal(err)
	}
	ids := []can.ID{0x100, 0x101, 0x500, 0x18FEF100 | can.Extended, 0x18FEF117 | can.Extended, 0x0CF00403 | can.Extended}
	const rounds, passing = 1000, 3
	before := matches(t, name)
	for i := range rounds {
		for _, id := range ids {
			send(t, a, can.Frame{ID: id, Len: 2, Data: [64]byte{byte(i), byte(i >> 8)}})
		}
	}
	for _, f := range receive(t, b, passing*rounds) {
		if f.ID == 0x101 || f.ID == 0x500 || f.ID == 0x18FEF117|can.Extended {
			t.Fatalf("frame %X came through", f.ID)
		}
	}
	silent(t, b)
	if got := matches(t, name) - before; got != passing*rounds {
		t.Errorf("the kernel let %d frames to the socket, want %d of %d", got, passing*rounds, len(ids)*rounds)
	}
	if got := b.Stats(); got != (canbus.Stats{Received: passing * rounds}) {
		t.Errorf("got %+v", got)
	}
	if link, err := b.Link(); err != nil || link.Received != uint64(len(ids)*rounds) {
		t.Errorf("the interface says %d frames (%v), want %d", link.Received, err, len(ids)*rounds)
	}
}

// matches sums up the frames that the kernel handed to filters of CAN_RAW sockets on an interface (/proc/net/can).
func matches(t *testing.T, name string) (sum int) {
	t.Helper()
	for _, list := range []string{"all", "fil", "inv", "sff", "eff"} {
		text, err := os.ReadFile("/proc/net/can/rcvlist_" + list)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) { // device can_id can_mask function userdata matches ident
			if words := strings.Fields(string(line)); len(words) == 7 && words[0] == name && words[6] == "raw" {
				n, err := strconv.Atoi(words[5])
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
		}
	}
	return sum
}

// TestDropsAreCountedWithoutAnotherFrame: a storm while the reader stands, then silence.
func TestDropsAreCountedWithoutAnotherFrame(t *testing.T) {
	name := vcan(t)
	a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name, Buffer: 64 << 10})
	const storm = 5000
	send(t, a, canbustest.Numbered(0, storm)...)
	if got := b.Stats(); got != (canbus.Stats{}) {
		t.Errorf("nobody has read yet: got %+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for frames := make([]can.Frame, 256); ; {
		ctx, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		_, err := b.Receive(ctx, frames)
		stop()
		if err != nil {
			break
		}
	}
	if got := b.Stats(); got.Dropped == 0 || got.Received == 0 || got.Received+got.Dropped != storm {
		t.Errorf("got %+v, want %d in all and some dropped", got, storm)
	}
}

// TestGapsAreInFront: where frames were lost a Receive begins, however the queue was filled.
func TestGapsAreInFront(t *testing.T) {
	name := vcan(t)
	a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name, Buffer: 64 << 10})
	const storm = 5000
	send(t, a, canbustest.Numbered(0, storm)...)
	frames := make([]can.Frame, 256)
	next, gaps, received := 0, 0, uint64(0)
	read := func(frames []can.Frame) error {
		ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer stop()
		before := b.Stats().Dropped
		n, err := b.Receive(ctx, frames)
		for i := range frames[:n] {
			if k := canbustest.Number(&frames[i]); k != next {
				if gaps++; i > 0 || b.Stats().Dropped == before {
					t.Errorf("frame %d of a Receive is number %d, want %d; %d dropped", i, k, next, b.Stats().Dropped-before)
				}
				next = k
			}
			next++
		}
		received += uint64(n)
		return err
	}
	if err := read(frames[:100]); err != nil { // makes room: what comes now lies behind the gap in one queue
		t.Fatal(err)
	}
	send(t, a, canbustest.Numbered(storm, 50)...)
	for read(frames) == nil {
	}
	if got := b.Stats(); gaps != 1 || next != storm+50 || got.Received != received || got.Received+got.Dropped != storm+50 {
		t.Errorf("got %d gaps up to %d and %+v, want one up to %d", gaps, next, got, storm+50)
	}
}

// TestStormLosesNothing: with the ordinary buffer a reader keeps up with a burst as fast as the kernel makes it.
func TestStormLosesNothing(t *testing.T) {
	name := vcan(t)
	a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name})
	const storm = 20_000
	sent := make(chan error, 1)
	go func() { sent <- a.Send(t.Context(), canbustest.Numbered(0, storm)) }()
	for i, f := range receive(t, b, storm) {
		if canbustest.Number(&f) != i {
			t.Fatalf("got frame %d, want %d", canbustest.Number(&f), i)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if got := b.Stats(); got.Dropped != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestErrorFrames(t *testing.T) {
	name := vcan(t)
	a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name})
	failure := func(class uint32, controller byte) can.Frame {
		return can.Frame{ID: can.ID(class), Flags: can.Error, Len: 8, Data: [64]byte{1: controller}}
	}
	tests := []struct {
		name  string
		frame can.Frame
		want  canbus.Errors
	}{
		{"bus off", failure(unix.CAN_ERR_BUSOFF, 0), canbus.Errors{BusOff: 1}},
		{"restarted", failure(unix.CAN_ERR_RESTARTED, 0), canbus.Errors{Restarted: 1}},
		{"error passive", failure(unix.CAN_ERR_CRTL, unix.CAN_ERR_CRTL_RX_PASSIVE), canbus.Errors{Passive: 1}},
		{"warning", failure(unix.CAN_ERR_CRTL, unix.CAN_ERR_CRTL_TX_WARNING), canbus.Errors{Warning: 1}},
		{"active again", failure(unix.CAN_ERR_CRTL, unix.CAN_ERR_CRTL_ACTIVE), canbus.Errors{Active: 1}},
		{"overflow", failure(unix.CAN_ERR_CRTL, unix.CAN_ERR_CRTL_RX_OVERFLOW), canbus.Errors{Overflow: 1}},
		{"arbitration lost", failure(unix.CAN_ERR_LOSTARB, 0), canbus.Errors{ArbitrationLost: 1}},
		{"no acknowledgement", failure(unix.CAN_ERR_ACK, 0), canbus.Errors{NoAck: 1}},
		{"bus error once", failure(unix.CAN_ERR_PROT|unix.CAN_ERR_BUSERROR, 0), canbus.Errors{BusError: 1}},
		{"transceiver", failure(unix.CAN_ERR_TRX, 0), canbus.Errors{Transceiver: 1}},
		{"time-out", failure(unix.CAN_ERR_TX_TIMEOUT, 0), canbus.Errors{Timeout: 1}},
		{"controller without a reason", failure(unix.CAN_ERR_CRTL, 0), canbus.Errors{Other: 1}},
		{"several at once", failure(unix.CAN_ERR_BUSOFF|unix.CAN_ERR_ACK|unix.CAN_ERR_CRTL, unix.CAN_ERR_CRTL_TX_PASSIVE), canbus.Errors{BusOff: 1, NoAck: 1, Passive: 1}},
	}
	var received uint64
	for _, c := range tests {
		before := b.Errors()
		send(t, a, c.frame, can.Frame{ID: 1})
		if got := receive(t, b, 1); got[0].ID != 1 || got[0].Flags != 0 {
			t.Errorf("%s: got %+v as data", c.name, got[0])
		}
		received++
		if got := minus(b.Errors(), before); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
	if err := b.SetFilters([]can.Filter{}); err != nil {
		t.Fatal(err)
	}
	before := b.Errors()
	send(t, a, failure(unix.CAN_ERR_BUSOFF, 0), can.Frame{ID: 1})
	silent(t, b)
	if got := minus(b.Errors(), before); got != (canbus.Errors{BusOff: 1}) {
		t.Errorf("with filters: got %+v, want the error frame counted", got)
	}
	if got := b.Stats(); got != (canbus.Stats{Received: received}) {
		t.Errorf("got %+v, want error frames in no counter of frames", got)
	}
}

func minus(a, b canbus.Errors) canbus.Errors {
	return canbus.Errors{
		BusOff: a.BusOff - b.BusOff, Restarted: a.Restarted - b.Restarted, Passive: a.Passive - b.Passive,
		Warning: a.Warning - b.Warning, Active: a.Active - b.Active, ArbitrationLost: a.ArbitrationLost - b.ArbitrationLost,
		NoAck: a.NoAck - b.NoAck, Overflow: a.Overflow - b.Overflow, BusError: a.BusError - b.BusError,
		Transceiver: a.Transceiver - b.Transceiver, Timeout: a.Timeout - b.Timeout, Other: a.Other - b.Other,
	}
}

// TestInterfaceEnds: what came before is handed out first, then Receive says why, again and again, without waiting.
func TestInterfaceEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(string) error
		is   error
		says string
	}{
		{"down", func(name string) error { return socketcan.SetUp(name, false) }, unix.ENETDOWN, "went down"},
		{"removed", socketcan.Remove, unix.ENODEV, "was removed"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			name := vcan(t)
			a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name})
			send(t, a, canbustest.Numbered(0, 100)...)
			waiting := make(chan error, 1)
			go func() {
				_, err := a.Receive(t.Context(), make([]can.Frame, 1))
				waiting <- err
			}()
			time.Sleep(20 * time.Millisecond)
			if err := c.end(name); err != nil {
				t.Fatal(err)
			}
			receive(t, b, 100)
			for range 2 {
				n, err := b.Receive(t.Context(), make([]can.Frame, 4))
				if n != 0 || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), name) {
					t.Errorf("got %d, %v, want %v", n, err, c.is)
				}
			}
			// What is removed is taken down first, and a waiting reader hears of that.
			if err := <-waiting; !errors.Is(err, c.is) && !errors.Is(err, unix.ENETDOWN) || errors.Is(err, io.EOF) {
				t.Errorf("the waiting one got %v, want %v", err, c.is)
			}
			if err := a.Send(t.Context(), canbustest.Numbered(0, 1)); err == nil {
				t.Error("sending gave no error")
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	down := vcan(t)
	if err := socketcan.SetUp(down, false); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		opts   socketcan.Options
		says   string
		is     error
		config bool
	}{
		{"missing", socketcan.Options{Interface: "nowhere0"}, "there is no such interface", unix.ENODEV, false},
		{"no CAN interface", socketcan.Options{Interface: "lo"}, "not a CAN interface", canbus.ErrConfig, true},
		{"down", socketcan.Options{Interface: down}, "the interface is down", unix.ENETDOWN, false},
		{"bit rate of a virtual one", socketcan.Options{Interface: down, BitrateHz: 500_000}, `of kind "vcan"`, canbus.ErrConfig, true},
		{"listen-only of a virtual one", socketcan.Options{Interface: down, ListenOnly: true}, `of kind "vcan"`, canbus.ErrConfig, true},
	}
	for _, c := range tests {
		bus, err := socketcan.Open(t.Context(), c.opts)
		if err == nil {
			bus.Close()
		}
		if !errors.Is(err, c.is) || errors.Is(err, canbus.ErrConfig) != c.config || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.opts.Interface) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := socketcan.Open(ctx, socketcan.Options{Interface: down}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestWithoutCapabilities: reading needs none; setting an interface does, and the error names it.
func TestWithoutCapabilities(t *testing.T) {
	name := vcan(t)
	if err := socketcan.SetMTU(name, 16); err != nil {
		t.Fatal(err)
	}
	opened, set := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		none := [2]unix.CapUserData{}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			opened <- err
			set <- err
			return
		}
		bus, err := socketcan.Open(context.Background(), socketcan.Options{Interface: name})
		if err == nil {
			err = bus.Close()
		}
		opened <- err
		bus, err = socketcan.Open(context.Background(), socketcan.Options{Interface: name, FD: true})
		if err == nil {
			bus.Close()
		}
		set <- err
	}()
	if err := <-opened; err != nil {
		t.Errorf("reading: %v", err)
	}
	err := <-set
	if !errors.Is(err, unix.EPERM) || errors.Is(err, canbus.ErrConfig) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("setting: got %v, want one that names CAP_NET_ADMIN", err)
	}
	bus := open(t, socketcan.Options{Interface: name, FD: true}) // with all capabilities it works
	if link, err := bus.Link(); err != nil || !link.FD {
		t.Errorf("got %+v, %v, want CAN FD", link, err)
	}
}

// TestOpenLeaksNothing: what fails to open leaves no descriptor behind, and those of a bus do not survive exec.
func TestOpenLeaksNothing(t *testing.T) {
	name := vcan(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for range 20 {
		if _, err := socketcan.Open(t.Context(), socketcan.Options{Interface: "nowhere0"}); err == nil {
			t.Fatal("got no error")
		}
		bus, err := socketcan.Open(t.Context(), socketcan.Options{Interface: name})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(bus.Close(), bus.Close()); err != nil {
			t.Error(err)
		}
	}
	if now := count(); now != before {
		t.Errorf("got %d open files, want %d", now, before)
	}
	bus := open(t, socketcan.Options{Interface: name})
	for _, fd := range socketcan.Descriptors(bus) {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d survives exec (%v)", fd, err)
		}
	}
}

func TestSendErrors(t *testing.T) {
	name := vcan(t)
	bus := open(t, socketcan.Options{Interface: name})
	for what, f := range map[string]can.Frame{
		"9 bytes":        {Len: 9},
		"65 bytes":       {Len: 65, Flags: can.FD},
		"9 bytes of FD":  {Len: 9, Flags: can.FD},
		"12 bits":        {ID: 0x800},
		"30 bits":        {ID: can.Extended | 1<<29},
		"remote of 9":    {Len: 9, Flags: can.Remote},
		"error of class": {ID: 1 << 29, Flags: can.Error, Len: 8},
	} {
		if err := bus.Send(t.Context(), []can.Frame{f}); err == nil {
			t.Errorf("%s: got no error", what)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := bus.Send(ctx, canbustest.Numbered(0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	bus.Close()
	if err := bus.Send(t.Context(), canbustest.Numbered(0, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, net.ErrClosed)
	}
	if err := bus.SetFilters(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, net.ErrClosed)
	}
}

func TestLink(t *testing.T) {
	name := vcan(t)
	bus := open(t, socketcan.Options{Interface: name, FD: true})
	link, err := bus.Link()
	if err != nil {
		t.Fatal(err)
	}
	if link.Interface != name || link.Kind != "vcan" || !link.Up || !link.FD || link.State != "" || link.BitrateHz != 0 || link.Index == 0 {
		t.Errorf("got %+v", link)
	}
	if err := socketcan.AddVirtual(name); !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), name) {
		t.Errorf("got %v, want %v", err, unix.EEXIST)
	}
	if err := socketcan.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Link(); !errors.Is(err, unix.ENODEV) {
		t.Errorf("got %v, want %v", err, unix.ENODEV)
	}
}

// TestReceiveAllocatesNothing: neither while frames come closely nor while they are rare.
func TestReceiveAllocatesNothing(t *testing.T) {
	name := vcan(t)
	a, b := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name})
	frames, few := make([]can.Frame, 256), canbustest.Numbered(0, 3)
	ctx := t.Context()
	for what, pause := range map[string]time.Duration{"close": 0, "rare": 6 * time.Millisecond} {
		if n := testing.AllocsPerRun(50, func() {
			time.Sleep(pause)
			if err := a.Send(ctx, few); err != nil {
				t.Fatal(err)
			}
			for got := 0; got < len(few); {
				n, err := b.Receive(ctx, frames)
				if err != nil {
					t.Fatal(err)
				}
				got += n
			}
		}); n != 0 {
			t.Errorf("%s: got %v allocations for %d frames, want 0", what, n, len(few))
		}
	}
}

// TestAdopt: what comes between Listen and Adopt is there, with its times, and what did not fit is counted.
func TestAdopt(t *testing.T) {
	name := vcan(t)
	sender := open(t, socketcan.Options{Interface: name})
	stamping(t, sender, open(t, socketcan.Options{Interface: name}))
	o := socketcan.Options{Interface: name, Buffer: 64 << 10}
	fd, err := socketcan.Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now().UnixMicro()
	const sent = 1000
	send(t, sender, canbustest.Numbered(0, sent)...)
	ended := time.Now().UnixMicro()
	time.Sleep(20 * time.Millisecond)
	bus, err := socketcan.Adopt(fd, o)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	frames := receive(t, bus, 20)
	for i := range frames {
		if canbustest.Number(&frames[i]) != i || frames[i].Time < began || frames[i].Time > ended {
			t.Errorf("frame %d: got number %d at %d, want a time from %d to %d", i, canbustest.Number(&frames[i]), frames[i].Time, began, ended)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for err == nil {
		_, err = bus.Receive(ctx, make([]can.Frame, 64))
	}
	if got := bus.Stats(); got.Received+got.Dropped != sent || got.Dropped == 0 {
		t.Errorf("got %+v, want %d together and some dropped", got, sent)
	}
	send(t, bus.(canbus.Sender), canbustest.Numbered(7, 1)...)
	if got := receive(t, sender, 1); canbustest.Number(&got[0]) != 7 {
		t.Errorf("got %+v from the adopted bus", got)
	}
}

// TestAdoptRefuses what is no socket of the interface: something else stays as it is, a CAN socket is closed.
func TestAdoptRefuses(t *testing.T) {
	name, other := vcan(t), vcan(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := socketcan.Adopt(int(w.Fd()), socketcan.Options{Interface: name}); !errors.Is(err, unix.ENOTSOCK) {
		t.Errorf("a pipe: got %v", err)
	}
	if _, err := w.Write([]byte{1}); err != nil {
		t.Errorf("the pipe was touched: %v", err)
	}
	fd, err := socketcan.Listen(socketcan.Options{Interface: other})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := socketcan.Adopt(fd, socketcan.Options{Interface: name}); err == nil || !strings.Contains(err.Error(), "not of this interface") {
		t.Errorf("another interface's: got %v", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("the socket is still open: %v", err)
	}
	if _, err := socketcan.Listen(socketcan.Options{Interface: "none"}); !errors.Is(err, unix.ENODEV) {
		t.Errorf("no interface: got %v", err)
	}
}
