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
	mu        sync.Mutex // guards all below
	capacity  int64
	booted    slots.Slot
	order     []slots.Slot
	left      map[slots.Slot]int
	trial     slots.Slot
	problem   string
	spoilt    map[slots.Slot]bool
	countEach bool
	content   map[slots.Slot][]byte
	fault     func(op string) error
}

var _ slots.Slots = (*Fake)(nil)

// NewFake gives a board whose slot A runs and is confirmed; B is empty. Each slot holds capacity bytes.
func NewFake(capacity int64) *Fake {
	return &Fake{
		capacity: capacity, booted: slots.A, order: []slots.Slot{slots.A},
		left: map[slots.Slot]int{slots.A: slots.Tries}, content: map[slots.Slot][]byte{},
		spoilt: map[slots.Slot]bool{slots.B: true},
	}
}

// Fail lets the operations "status", "install", "confirm", "prefer" and "rollback" return what fault
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

// Spoil says whether the boot loader finds from now on that a slot cannot be verified. A new board's B cannot.
func (f *Fake) Spoil(slot slots.Slot, spoilt bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoilt[slot] = spoilt
}

// CountEachStart lets the boot loader count the starts of confirmed slots, too, as that of the first devices does.
func (f *Fake) CountEachStart(count bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.countEach = count
}

// LoseState makes the boot state unreadable: the default is in force until the next change.
func (f *Fake) LoseState() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problem, f.trial = "boot state: checksum is wrong", ""
	f.order, f.left = slots.All(), map[slots.Slot]int{slots.A: slots.Tries, slots.B: slots.Tries}
}

// Start is a power-on, as the boot loader handles it: the first slot that can be started runs, and
// loses a start when it is on trial; "" when there is none, after all slots got their starts back.
func (f *Fake) Start() slots.Slot {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.booted = ""
	for range 2 {
		for _, slot := range f.order {
			if slot == f.trial || f.countEach {
				if f.left[slot] == 0 {
					continue
				}
				f.left[slot]--
				f.problem = ""
			}
			if !f.spoilt[slot] {
				f.booted = slot
				return slot
			}
		}
		f.problem = ""
		for _, slot := range slots.All() {
			if !slices.Contains(f.order, slot) {
				f.order = append(f.order, slot)
			}
			f.left[slot] = slots.Tries
		}
	}
	return ""
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
	return f.status(), f.failure("status")
}

// status is called with mu held.
func (f *Fake) status() slots.Status {
	return slots.Status{
		Booted: f.booted, Order: slices.Clone(f.order), Left: map[slots.Slot]int{slots.A: f.left[slots.A], slots.B: f.left[slots.B]},
		OnTrial: f.trial, Trial: f.booted != "" && f.trial == f.booted, Problem: f.problem,
	}
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
	f.trial, f.problem, f.spoilt[target] = target, "", false
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
	f.trial, f.problem, f.spoilt[target] = "", "", true
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
	f.problem = ""
	return nil
}

// Prefer implements slots.Slots.
func (f *Fake) Prefer(slot slots.Slot) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.booted == "" || slot.Other() == "":
		return slots.ErrBooted
	case f.trial != "" && (f.trial == slot || f.trial == f.booted):
		return fmt.Errorf("slot %s: %w", slot, slots.ErrTrial)
	}
	if err := f.failure("prefer"); err != nil {
		return err
	}
	f.first(f.booted)
	f.first(slot)
	f.problem = ""
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
	if !f.status().Bootable(other) {
		return fmt.Errorf("slot %s: %w", other, slots.ErrUnbootable)
	}
	if err := f.failure("rollback"); err != nil {
		return err
	}
	f.first(other)
	f.trial, f.problem = "", ""
	return nil
}

// ErrInjected is a fault for tests that need any.
var ErrInjected = errors.New("injected fault")
