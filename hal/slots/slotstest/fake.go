package slotstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"telltale.dev/hal/slots"
)

// Fake is a board in memory: two slots, a boot state and, as Start, the boot
// loader. The methods may be called by any goroutine.
type Fake struct {
	mu       sync.Mutex // guards all below
	capacity int64
	booted   slots.Slot
	order    []slots.Slot
	left     map[slots.Slot]int
	trial    slots.Slot
	problem  string
	content  map[slots.Slot][]byte
	fault    func(op string) error
}

var _ slots.Slots = (*Fake)(nil)

// NewFake gives a board whose slot A runs and is confirmed; B is empty. Each slot holds capacity bytes.
func NewFake(capacity int64) *Fake {
	return &Fake{
		capacity: capacity, booted: slots.A, order: []slots.Slot{slots.A},
		left: map[slots.Slot]int{slots.A: slots.Tries}, content: map[slots.Slot][]byte{},
	}
}

// Fail lets the operations "status", "install", "confirm" and "rollback" return what fault
// gives for them, as far as it is not nil. An install that fails so has written half of the image.
func (f *Fake) Fail(fault func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Content gives what a slot holds.
func (f *Fake) Content(slot slots.Slot) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.content[slot])
}

// Start is a power-on: the first slot with a start left loses one and runs; "" when there is none.
func (f *Fake) Start() slots.Slot {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.booted = ""
	for _, slot := range f.order {
		if f.left[slot] > 0 {
			f.left[slot]--
			f.booted = slot
			break
		}
	}
	return f.booted
}

func (f *Fake) failure(op string) error {
	if f.fault == nil {
		return nil
	}
	return f.fault(op)
}

// first is called with mu held.
func (f *Fake) first(slot slots.Slot) {
	f.disable(slot)
	f.order = slices.Insert(f.order, 0, slot)
	f.left[slot] = slots.Tries
}

// disable is called with mu held.
func (f *Fake) disable(slot slots.Slot) {
	f.order = slices.DeleteFunc(f.order, func(o slots.Slot) bool { return o == slot })
	f.left[slot] = 0
}

// Status implements slots.Slots.
func (f *Fake) Status() (slots.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := map[slots.Slot]int{slots.A: f.left[slots.A], slots.B: f.left[slots.B]}
	return slots.Status{
		Booted: f.booted, Order: slices.Clone(f.order), Left: left,
		Trial: f.booted != "" && f.trial == f.booted, Problem: f.problem,
	}, f.failure("status")
}

// Install implements slots.Slots.
func (f *Fake) Install(ctx context.Context, image io.Reader, size int64) error {
	target, err := f.begin(size)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(io.LimitReader(image, size+1)) // without the lock: the image may take long
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content[target] = got
	switch {
	case err != nil:
		return fmt.Errorf("read the image: %w", err)
	case ctx.Err() != nil:
		return ctx.Err()
	case int64(len(got)) != size:
		return fmt.Errorf("slot %s: %w: %d bytes or more; expected %d", target, slots.ErrSize, len(got), size)
	}
	if err := f.failure("install"); err != nil {
		f.content[target] = got[:size/2]
		return err
	}
	f.first(target)
	f.trial = target
	return nil
}

// begin takes the target out.
func (f *Fake) begin(size int64) (slots.Slot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	target := f.booted.Other()
	switch {
	case target == "":
		return "", slots.ErrBooted
	case size <= 0 || size > f.capacity:
		return "", fmt.Errorf("slot %s: %w: %d bytes; expected 1 to %d", target, slots.ErrSize, size, f.capacity)
	case f.trial == f.booted:
		return "", fmt.Errorf("slot %s: %w", target, slots.ErrTrial)
	}
	f.disable(target)
	f.first(f.booted)
	f.trial = ""
	return target, nil
}

// Confirm implements slots.Slots.
func (f *Fake) Confirm() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.booted == "" {
		return slots.ErrBooted
	}
	if err := f.failure("confirm"); err != nil {
		return err
	}
	f.first(f.booted)
	if f.trial == f.booted {
		f.trial = ""
	}
	return nil
}

// Rollback implements slots.Slots.
func (f *Fake) Rollback() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	other := f.booted.Other()
	if other == "" {
		return slots.ErrBooted
	}
	if !slices.Contains(f.order, other) || f.left[other] == 0 {
		return fmt.Errorf("slot %s: %w", other, slots.ErrUnbootable)
	}
	if err := f.failure("rollback"); err != nil {
		return err
	}
	f.first(other)
	f.trial = ""
	return nil
}

// ErrInjected is a fault for tests that need any.
var ErrInjected = errors.New("injected fault")
