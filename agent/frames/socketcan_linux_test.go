package frames_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/agent/frames"
	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
)

// busOff puts on a virtual interface what a controller says when it leaves the bus.
func busOff(t *testing.T, name string) {
	t.Helper()
	bus, err := socketcan.Open(t.Context(), socketcan.Options{Interface: name})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if err := bus.(canbus.Sender).Send(t.Context(), []can.Frame{{ID: unix.CAN_ERR_BUSOFF, Flags: can.Error, Len: 8}}); err != nil {
		t.Fatal(err)
	}
}

// TestInterfaceComesAndGoes: an interface that is not there yet, goes down,
// comes up, is removed and made again: no frame in between is lost without a
// line, each change is said once, and the filters hold.
func TestInterfaceComesAndGoes(t *testing.T) {
	const name = "ttcomes"
	if err := socketcan.AddVirtual(name); err != nil {
		if os.Getenv("TELLTALE_VM") == "1" {
			t.Fatal(err)
		}
		t.Skipf("no virtual CAN here: %v; make test-vm brings a kernel", err)
	}
	remove := func() {
		if err := socketcan.Remove(name); err != nil && !errors.Is(err, unix.ENODEV) {
			t.Error(err)
		}
	}
	remove()
	t.Cleanup(remove)
	var opened atomic.Int32
	lines := &log{}
	r := frames.New(frames.Config{Log: slog.New(slog.NewTextHandler(lines, nil)), Inputs: []frames.Input{
		{Name: "can0", Open: func(ctx context.Context) (canbus.Bus, error) {
			opened.Add(1)
			return socketcan.Open(ctx, socketcan.Options{Interface: name})
		}},
	}})
	r.SetFilters(0, exact(0x100))
	out, ended := make(chan *frames.Block), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- r.Run(ctx, out) }()
	var got atomic.Uint64
	read := make(chan struct{})
	go func() {
		defer close(read)
		for b := range out {
			got.Add(uint64(len(b.Frames)))
			r.Release(b)
		}
	}()
	round := func(n uint64) {
		t.Helper()
		eventually(t, "attached", func() bool { return r.Attached() == 1 })
		sender, err := socketcan.Open(t.Context(), socketcan.Options{Interface: name})
		if err != nil {
			t.Fatal(err)
		}
		defer sender.Close()
		for range 100 {
			if err := sender.(canbus.Sender).Send(t.Context(), []can.Frame{{ID: 0x100, Len: 1}, {ID: 0x101, Len: 1}}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "100 frames more", func() bool { return got.Load() == 100*n })
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	gone := func() {
		t.Helper()
		eventually(t, "not attached", func() bool { return r.Attached() == 0 })
	}
	must(socketcan.AddVirtual(name))
	round(1)
	must(socketcan.SetUp(name, false))
	gone()
	time.Sleep(600 * time.Millisecond)
	before := opened.Load()
	time.Sleep(time.Second)
	if tries := opened.Load() - before; tries > 6 {
		t.Errorf("%d attempts in a second, want about 4", tries)
	}
	must(socketcan.SetUp(name, true))
	round(2)
	must(socketcan.Remove(name))
	gone()
	must(socketcan.AddVirtual(name))
	round(3)
	busOff(t, name)
	eventually(t, "a line about the controller", func() bool { return strings.Contains(lines.text(), "went off the bus") })
	cancel()
	<-read
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// A slow machine may look at the interface when it has just been made, and is not up yet.
	for text, want := range map[string][2]int{"msg=\"bus attached\"": {3, 3}, "the interface is down": {1, 2}, "went down": {0, 2}, "msg=\"bus filters\"": {1, 1}} {
		if n := strings.Count(lines.text(), text); n < want[0] || n > want[1] {
			t.Errorf("%d lines with %s, want %d to %d:\n%s", n, text, want[0], want[1], lines.text())
		}
	}
	if b := r.Buses()[0]; b.Received != 300 || b.Dropped != 0 || b.Filters != "1 filters" || b.Errors != (canbus.Errors{BusOff: 1}) {
		t.Errorf("got %+v", b)
	}
}
