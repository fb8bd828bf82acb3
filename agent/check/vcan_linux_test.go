package check_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"telltale.dev/agent/check"
	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
)

// TestInterface looks at a real interface: missing, down, silent and busy.
func TestInterface(t *testing.T) {
	const name = "vcan7"
	if os.Getenv("TELLTALE_VM") != "1" {
		t.Skip("it makes interfaces: make test-vm runs it in a virtual machine")
	}
	o, err := socketcan.ParseURL(name)
	if err != nil {
		t.Fatal(err)
	}
	bus := check.Bus{Name: "can0", Open: func(ctx context.Context) (canbus.Bus, error) { return socketcan.Open(ctx, o) }}
	look := func() check.Line { return bus.Look(t.Context(), time.Second) }
	expect(t, look(), "bus can0", check.Fail, "there is no such interface", "driver loaded")
	if err := socketcan.AddVirtual(name); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socketcan.Remove(name) }()
	if err := socketcan.SetUp(name, false); err != nil {
		t.Fatal(err)
	}
	expect(t, look(), "bus can0", check.Fail, "the interface is down", "ip link set INTERFACE up")
	if err := socketcan.SetUp(name, true); err != nil {
		t.Fatal(err)
	}
	expect(t, look(), "bus can0", check.Warn, "vcan7 vcan, no frames", "is the ignition on")
	expect(t, check.Bus{Name: "lo", Open: func(ctx context.Context) (canbus.Bus, error) {
		return socketcan.Open(ctx, socketcan.Options{Interface: "lo"})
	}}.Look(t.Context(), time.Second), "bus lo", check.Fail, "not a CAN interface", "configuration")

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	driving := make(chan struct{})
	go func() { ended <- drive(ctx, o, sync.OnceFunc(func() { close(driving) })) }()
	select {
	case <-driving:
	case err := <-ended:
		t.Fatal(err)
	}
	line := look()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	expect(t, line, "bus can0", check.OK, "frames/s", "")
}

// drive sends a frame each two ms until ctx ends, and says so behind each.
func drive(ctx context.Context, o socketcan.Options, sent func()) error {
	bus, err := socketcan.Open(ctx, o)
	if err != nil {
		return err
	}
	defer bus.Close()
	sender, _ := canbus.As[canbus.Sender](bus)
	for tick := time.NewTicker(2 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
			if err := sender.Send(ctx, []can.Frame{{ID: 0x123, Len: 1}}); err != nil && ctx.Err() == nil {
				return err
			}
			sent()
		}
	}
}
