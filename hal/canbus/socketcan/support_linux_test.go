package socketcan_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/canbustest"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
)

func TestMain(m *testing.M) {
	if !beSender() {
		goleak.VerifyTestMain(m)
	}
}

// patience bounds every wait for the kernel.
const patience = time.Minute

// mustRun says that what is missing is a failure here: in the virtual machine the kernel has everything.
func mustRun() bool { return os.Getenv("TELLTALE_VM") == "1" }

// lacking ends a test for want of something of the kernel.
func lacking(t testing.TB, err error) {
	t.Helper()
	if mustRun() {
		t.Fatal(err)
	}
	t.Skipf("no virtual CAN here: %v; make test-vm brings a kernel, or: sudo modprobe vcan can-raw; unshare -Urn go test ./hal/canbus/socketcan", err)
}

var vcans atomic.Int32

// vcan makes a virtual interface for one test.
func vcan(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_CAN, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.CAN_RAW)
	if err != nil {
		lacking(t, err)
	}
	unix.Close(fd)
	name := fmt.Sprintf("tt%d", vcans.Add(1))
	if err := socketcan.AddVirtual(name); err != nil {
		lacking(t, err)
	}
	t.Cleanup(func() {
		if err := socketcan.Remove(name); err != nil && !errors.Is(err, unix.ENODEV) {
			t.Error(err)
		}
	})
	return name
}

// open attaches to an interface until the test ends.
func open(t testing.TB, o socketcan.Options) *socketcan.Bus {
	t.Helper()
	bus, err := socketcan.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return bus.(*socketcan.Bus)
}

func send(t testing.TB, bus canbus.Sender, frames ...can.Frame) {
	t.Helper()
	if err := bus.Send(t.Context(), frames); err != nil {
		t.Fatal(err)
	}
}

// receive reads n frames.
func receive(t testing.TB, bus canbus.Bus, n int) []can.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	frames := make([]can.Frame, n)
	for got := 0; got < n; {
		m, err := bus.Receive(ctx, frames[got:])
		if err != nil {
			t.Fatalf("after %d of %d frames: %v", got, n, err)
		}
		got += m
	}
	return frames
}

// stamping waits until the kernel stamps frames as they come. It begins with the
// first socket that asks, but only when a worker gets to it (net_enable_timestamp):
// until then a frame is stamped when it is read.
func stamping(t testing.TB, from, to canbus.Bus) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		send(t, from.(canbus.Sender), canbustest.Numbered(0, 1)...)
		sent := time.Now().UnixMicro()
		time.Sleep(5 * time.Millisecond)
		if receive(t, to, 1)[0].Time <= sent {
			return
		}
	}
	t.Fatal("the kernel stamps no frames as they come")
}

// silent makes sure that no frame comes.
func silent(t testing.TB, bus canbus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if n, err := bus.Receive(ctx, make([]can.Frame, 4)); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %d frames, %v, want none", n, err)
	}
}
