package frames_test

import (
	"context"
	"errors"
	"testing"

	"telltale.dev/agent/frames"
	"telltale.dev/hal/canbus"
)

// shut is a bus that knows whether it was closed.
type shut struct {
	canbus.Bus
	closed bool
}

func (s *shut) Close() error { s.closed = true; return nil }

func TestOpenEarly(t *testing.T) {
	missing := errors.New("no such interface")
	var buses []*shut
	started := make(chan struct{}, 8)
	inputs := []frames.Input{
		{Name: "can0", Open: func(context.Context) (canbus.Bus, error) {
			b := &shut{}
			buses = append(buses, b)
			started <- struct{}{}
			return b, nil
		}},
		{Name: "can1", Open: func(context.Context) (canbus.Bus, error) { return nil, missing }},
	}
	opened, release := frames.OpenEarly(t.Context(), inputs)
	<-started // without anybody asking
	if opened[0].Name != "can0" || opened[1].Name != "can1" {
		t.Errorf("got %s and %s, want the names as they were", opened[0].Name, opened[1].Name)
	}
	first, err := opened[0].Open(t.Context())
	if err != nil || first != canbus.Bus(buses[0]) {
		t.Errorf("got %v, %v, want what was opened early", first, err)
	}
	second, err := opened[0].Open(t.Context())
	if err != nil || len(buses) != 2 || second != canbus.Bus(buses[1]) {
		t.Errorf("got %v, %v, want it opened anew", second, err)
	}
	if _, err := opened[1].Open(t.Context()); !errors.Is(err, missing) {
		t.Errorf("got %v, want %v", err, missing)
	}
	release()
	if buses[0].closed || buses[1].closed {
		t.Error("a bus that was taken was closed")
	}
	_, release = frames.OpenEarly(t.Context(), inputs)
	release()
	if len(buses) != 3 || !buses[2].closed {
		t.Error("a bus that nobody took was not closed")
	}
}
