package socketcan_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/canbustest"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
)

// controllers gives two CAN controllers that are on one bus. The virtual
// machine has them (SJA1000, classic CAN), where it has PCI.
func controllers(t *testing.T) (a, b string) {
	t.Helper()
	if !mustRun() {
		t.Skip("needs two CAN controllers on one bus: make test-vm has them")
	}
	if runtime.GOARCH == "arm" {
		t.Skip("the 32-bit ARM machine has no PCI for its CAN controllers")
	}
	for _, name := range []string{"can0", "can1"} {
		if socketcan.Index(name) == 0 {
			t.Fatalf("the virtual machine has no %s", name)
		}
		t.Cleanup(func() {
			if err := socketcan.SetUp(name, false); err != nil {
				t.Error(err)
			}
		})
	}
	return "can0", "can1"
}

func TestControllerIsSetAsAskedFor(t *testing.T) {
	name, other := controllers(t)
	if _, err := socketcan.Open(t.Context(), socketcan.Options{Interface: name}); !errors.Is(err, unix.ENETDOWN) {
		t.Fatalf("not set up yet: got %v, want %v", err, unix.ENETDOWN)
	}
	set := func(o socketcan.Options, want canbus.Link) *socketcan.Bus {
		t.Helper()
		o.Interface = name
		bus := open(t, o)
		got, err := bus.Link()
		if err != nil {
			t.Fatal(err)
		}
		if !got.Up || got.Kind != "can" || got.State != "error-active" || got.BitrateHz != want.BitrateHz || got.ListenOnly != want.ListenOnly ||
			got.RestartMS != want.RestartMS || got.FD || got.Queue == 0 {
			t.Errorf("%+v: got %+v", o, got)
		}
		return bus
	}
	set(socketcan.Options{BitrateHz: 500_000}, canbus.Link{BitrateHz: 500_000, RestartMS: 100})
	set(socketcan.Options{}, canbus.Link{BitrateHz: 500_000, RestartMS: 100}) // what is not asked for stays
	listening := set(socketcan.Options{BitrateHz: 250_000, ListenOnly: true, Restart: time.Second}, canbus.Link{BitrateHz: 250_000, ListenOnly: true, RestartMS: 1000})
	sender := open(t, socketcan.Options{Interface: other, BitrateHz: 250_000})
	send(t, sender, canbustest.Numbered(0, 5)...)
	if got := receive(t, listening, 5); canbustest.Number(&got[4]) != 4 {
		t.Errorf("got %+v", got)
	}
	a := set(socketcan.Options{BitrateHz: 250_000}, canbus.Link{BitrateHz: 250_000, RestartMS: 100}) // no longer listen-only
	b := open(t, socketcan.Options{Interface: name, BitrateHz: 250_000})                             // as it is: nobody is disturbed
	send(t, sender, canbustest.Numbered(0, 5)...)
	receive(t, a, 5)
	receive(t, b, 5)
	for what, o := range map[string]socketcan.Options{
		"CAN FD":                                {FD: true},
		"data bit rate":                         {BitrateHz: 500_000, DataBitrateHz: 2_000_000, FD: true},
		"bit rate that the kernel would round":  {BitrateHz: 870_000},
		"bit rate that the kernel cannot round": {BitrateHz: 930_000},
	} {
		o.Interface = name
		bus, err := socketcan.Open(t.Context(), o)
		if err == nil {
			bus.Close()
		}
		if !errors.Is(err, canbus.ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want %v", what, err, canbus.ErrConfig)
		}
	}
}

// TestControllerIsNotSetWithoutPermission: an error that names the capability; what is as asked for needs none.
func TestControllerIsNotSetWithoutPermission(t *testing.T) {
	name, _ := controllers(t)
	open(t, socketcan.Options{Interface: name, BitrateHz: 125_000})
	same, other := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		none := [2]unix.CapUserData{}
		err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
		try := func(hz uint32) error {
			if err != nil {
				return err
			}
			bus, err := socketcan.Open(context.Background(), socketcan.Options{Interface: name, BitrateHz: hz})
			if err == nil {
				err = bus.Close()
			}
			return err
		}
		same <- try(125_000)
		other <- try(250_000)
	}()
	if err := <-same; err != nil {
		t.Errorf("the bit rate that it has: %v", err)
	}
	if err := <-other; !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("another bit rate: got %v, want one that names CAP_NET_ADMIN", err)
	}
}

// TestBackPressure: an interface has room for some frames only; Send waits for
// room, loses nothing, and gives up with its context.
func TestBackPressure(t *testing.T) {
	name := vcan(t)
	const many, room = 500, 20
	if err := socketcan.Slow(name, 5*time.Millisecond, room); err != nil {
		lacking(t, err)
	}
	sender, receiver := open(t, socketcan.Options{Interface: name}), open(t, socketcan.Options{Interface: name})
	if n := socketcan.Push(t, sender, canbustest.Numbered(0, 64)); n < 1 || n > room {
		t.Fatalf("the interface took %d frames at once, want at most %d: this test shows nothing", n, room)
	} else {
		receive(t, receiver, n)
	}
	sent := make(chan error, 1)
	go func() { sent <- sender.Send(t.Context(), canbustest.Numbered(0, many)) }()
	for i, f := range receive(t, receiver, many) {
		if canbustest.Number(&f) != i {
			t.Fatalf("got frame %d, want %d", canbustest.Number(&f), i)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := sender.Send(ctx, canbustest.Numbered(0, many)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestCANFDOnAClassicController(t *testing.T) {
	name, _ := controllers(t)
	bus := open(t, socketcan.Options{Interface: name, BitrateHz: 125_000})
	if err := bus.Send(t.Context(), []can.Frame{{Flags: can.FD, Len: 12}}); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "CAN FD") {
		t.Errorf("got %v, want one that speaks of CAN FD", err)
	}
}
