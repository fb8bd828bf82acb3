package check_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/check"
	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// wire is a bus that brings a frame each ms, or none, and tells its state.
type wire struct {
	frames  bool
	ends    error
	dropped uint64
	link    *canbus.Link
	errors  canbus.Errors
}

func (w *wire) Receive(ctx context.Context, frames []can.Frame) (int, error) {
	if w.ends != nil {
		return 0, w.ends
	}
	if !w.frames {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(time.Millisecond):
		return 1, nil
	}
}

func (w *wire) Stats() canbus.Stats   { return canbus.Stats{Dropped: w.dropped} }
func (w *wire) Close() error          { return nil }
func (w *wire) Errors() canbus.Errors { return w.errors }
func (w *wire) Link() (canbus.Link, error) {
	if w.link == nil {
		return canbus.Link{}, errors.New("netlink: no answer")
	}
	return *w.link, nil
}

func up(state string, bitrate uint32) *canbus.Link {
	return &canbus.Link{Interface: "can0", Kind: "can", Up: true, State: state, BitrateHz: bitrate}
}

func TestBus(t *testing.T) {
	for _, test := range []struct {
		name  string
		wire  *wire
		open  error
		bus   check.Bus
		level check.Level
		text  string
		hint  string
	}{
		{"well", &wire{frames: true, link: up("error-active", 500_000)}, nil, check.Bus{}, check.OK, "can0 can, error-active, 500000 bit/s, 1000 frames/s", ""},
		{"FD", &wire{frames: true, link: &canbus.Link{Interface: "can1", Kind: "can", Up: true, State: "error-active", BitrateHz: 500_000, DataBitrateHz: 2_000_000, ListenOnly: true}}, nil, check.Bus{}, check.OK, "500000 bit/s, 2000000 of data, listen-only", ""},
		{"no state", &wire{frames: true}, nil, check.Bus{}, check.OK, "1000 frames/s", ""},
		{"silent", &wire{link: up("error-active", 500_000)}, nil, check.Bus{}, check.Warn, "no frames", "is the ignition on"},
		{"dropped", &wire{frames: true, dropped: 7}, nil, check.Bus{}, check.Warn, "7 dropped", "receive buffer"},
		{"bus-off", &wire{link: up("bus-off", 500_000)}, nil, check.Bus{}, check.Fail, "bus-off", "bit rate, a short circuit"},
		{"error-passive", &wire{frames: true, link: up("error-passive", 500_000)}, nil, check.Bus{}, check.Warn, "error-passive", "terminators"},
		{"error frames", &wire{frames: true, link: up("error-active", 500_000), errors: canbus.Errors{BusError: 12}}, nil, check.Bus{}, check.Warn, "error frames: 12 bus", "terminators"},
		{"bit rate", &wire{frames: true, link: up("error-active", 250_000)}, nil, check.Bus{BitrateHz: 500_000}, check.Fail, "250000 bit/s, 1000 frames/s; configured are 500000 bit/s", "CAP_NET_ADMIN"},
		{"down", &wire{link: &canbus.Link{Interface: "can0"}}, nil, check.Bus{}, check.Fail, "can0 is down", "ip link set INTERFACE up"},
		{"went away", &wire{ends: io.ErrUnexpectedEOF}, nil, check.Bus{}, check.Fail, "unexpected EOF", "dmesg"},
		{"down at once", nil, fmt.Errorf("can interface can0: the interface is down: %w", syscall.ENETDOWN), check.Bus{}, check.Fail, "is down", "ip link set INTERFACE up"},
		{"down, managed", nil, fmt.Errorf("can interface can0: the interface is down: %w", syscall.ENETDOWN), check.Bus{Managed: true}, check.Fail, "is down", "the agent brings it up"},
		{"no interface", nil, fmt.Errorf("can interface can9: there is no such interface: %w", syscall.ENODEV), check.Bus{}, check.Fail, "no such interface", "driver loaded"},
		{"not CAN", nil, fmt.Errorf("%w: it is not a CAN interface", canbus.ErrConfig), check.Bus{}, check.Fail, "not a CAN interface", "configuration"},
		{"not allowed", nil, fmt.Errorf("CAN socket: %w", fs.ErrPermission), check.Bus{}, check.Fail, "permission", "capabilities"},
		{"no hub", nil, syscall.ECONNREFUSED, check.Bus{}, check.Fail, "refused", "is the bus there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := test.bus
				bus.Name = "can0"
				bus.Open = func(context.Context) (canbus.Bus, error) {
					if test.open != nil {
						return nil, test.open
					}
					return test.wire, nil
				}
				expect(t, bus.Look(t.Context(), time.Second), "bus can0", test.level, test.text, test.hint)
			})
		})
	}
}

func expect(t *testing.T, got check.Line, area string, level check.Level, text, hint string) {
	t.Helper()
	if got.Area != area || got.Level != level || !strings.Contains(got.Text, text) || !strings.Contains(got.Hint, hint) ||
		(got.Hint == "") != (hint == "") {
		t.Errorf("got  %s %s: %s → %s\nwant %s %s: %s → %s", got.Level, got.Area, got.Text, got.Hint, level, area, text, hint)
	}
	if strings.Contains(got.Text+got.Hint, "\n") {
		t.Errorf("more than a line: %q", got.Text+got.Hint)
	}
}
