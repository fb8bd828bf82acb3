package slotstest_test

import (
	"bytes"
	"errors"
	"testing"

	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/slotstest"
)

func TestFake(t *testing.T) {
	slotstest.Run(t, func(*testing.T) slotstest.Board {
		f := slotstest.NewFake(64 << 10)
		return slotstest.Board{Slots: func() slots.Slots { return f }, Start: f.Start, Content: f.Content, Spoil: f.Spoil, LoseState: f.LoseState, Capacity: 64 << 10}
	})
}

func TestFaults(t *testing.T) {
	f := slotstest.NewFake(100)
	f.Fail(func(op string) error {
		if op == "install" {
			return slotstest.ErrInjected
		}
		return nil
	})
	if err := f.Install(t.Context(), bytes.NewReader(make([]byte, 10)), 10); !errors.Is(err, slotstest.ErrInjected) {
		t.Errorf("got %v, want the fault", err)
	}
	if got := f.Start(); got != slots.A || len(f.Content(slots.B)) != 5 {
		t.Errorf("got %s and %d bytes, want A and half of the image", got, len(f.Content(slots.B)))
	}
}
