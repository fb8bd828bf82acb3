package main

import (
	"errors"
	"strings"
	"testing"

	"telltale.dev/agent/frames"
	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
)

func TestBusInput(t *testing.T) {
	for arg, want := range map[string]string{
		"can0":       "can0",
		"can0=vcan7": "can0",
		"engine=socketcan:can1?bitrate=500000&send=0x123": "engine",
		"can0=virtual://127.0.0.1:4000/can0":              "can0",
		"can0=virtual:///tmp/hub.sock?bus=can0":           "can0",
	} {
		in, err := busInput(arg, socketcan.Open)
		if err != nil || in.Name != want || in.Open == nil {
			t.Errorf("--can %s: got %+v, %v, want bus %s", arg, in, err, want)
		}
	}
	for arg, want := range map[string]string{
		"":                                   "NAME=URL",
		"=can0":                              "NAME=URL",
		"can0=":                              "NAME=URL",
		"socketcan:can0":                     "NAME=URL",
		"can0=socketcan:can0?bitrate=fast":   "option bitrate: expected 1000 to 1000000 bit/s",
		"can0=slcan:can0":                    "expected an interface such as can0",
		"can0=virtual://192.0.2.1:4000/can0": "loopback",
		"a-name-of-an-interface-that-is-too-long": "1 to 15 bytes",
	} {
		if _, err := busInput(arg, socketcan.Open); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--can %s: got %v, want %q", arg, err, want)
		}
	}
	twice, _, err := parse(t, "run", "--data", "d", "--endpoint", "e:1", "--cert", "c", "--key", "k", "--ca", "r",
		"--can", "can0", "--can", "can1", "--can", "can0=vcan0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := twice.Run.busInputs(socketcan.Open); err == nil || !strings.Contains(err.Error(), "--can can0=vcan0: ") || !strings.Contains(err.Error(), "can0 twice") {
		t.Errorf("got %v, want one that names can0", err)
	}
}

// TestNothingIsSentByDefault: what the agent opens refuses to send unless its configuration allows it.
func TestNothingIsSentByDefault(t *testing.T) {
	hub, err := virtual.Listen("127.0.0.1:0", virtual.Config{Buses: []string{"can0"}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(t.Context()) }()
	t.Cleanup(func() {
		hub.Close()
		<-ended
	})
	allowed, err := canbus.ParsePermission("0x123")
	if err != nil {
		t.Fatal(err)
	}
	silent, err := busInput("can0="+hub.URL("can0"), socketcan.Open)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		input frames.Input
		id    can.ID
	}{
		{silent, 0x123},
		{guarded("can0", allowed, silent.Open), 0x124},
	} {
		bus, err := c.input.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s, ok := canbus.As[canbus.Sender](bus)
		if !ok {
			t.Fatal("no sender")
		}
		if err := s.Send(t.Context(), []can.Frame{{ID: c.id}}); !errors.Is(err, canbus.ErrNotAllowed) {
			t.Errorf("%X: got %v, want %v", c.id, err, canbus.ErrNotAllowed)
		}
		bus.Close()
	}
	if n := hub.Bus("can0").Frames(); n != 0 {
		t.Errorf("%d frames on the bus, want 0", n)
	}
}
