package uboot

import (
	"os"
	"slices"

	"telltale.dev/hal/slots"
)

// Boot plays one start of the boot loader, with the steps of firmware-images/boot.cmd, on the
// boot state that cfg names; cfg.Booted is not looked at. It is for boards that are made of files;
// firmware-images tests that the script does the same. startable says whether a slot can be
// read and verified. Boot gives the slot that runs, "" when no slot can be started.
//
// The slot on trial loses one start before it is tried; no other slot loses any. When nothing can
// be started every slot gets its starts back, also one that is not in the order, which comes
// last, and all are tried once more. What is confirmed or on trial does not change by that.
func Boot(cfg Config, startable func(slots.Slot) bool) (slots.Slot, error) {
	cfg.Booted = ""
	s, err := Open(cfg)
	if err != nil {
		return "", err
	}
	for range 2 {
		slot, err := s.boot(startable)
		if slot != "" || err != nil {
			return slot, err
		}
	}
	return "", nil
}

// boot goes once through the order.
func (s *Slots) boot(startable func(slots.Slot) bool) (slots.Slot, error) {
	f, err := s.lock(os.O_RDONLY)
	if err != nil {
		return "", err
	}
	current, problem, err := s.read(f)
	f.Close()
	if err != nil {
		return "", err
	}
	st := s.status(current, problem)
	for _, slot := range st.Order {
		if !st.Bootable(slot) {
			continue
		}
		if slot == st.OnTrial {
			if err := s.change(func(current *state) error { current.left[slot]--; return nil }); err != nil {
				return "", err
			}
		}
		if startable(slot) {
			return slot, nil
		}
	}
	return "", s.change(func(current *state) error {
		for _, slot := range slots.All() {
			if !slices.Contains(current.order, slot) {
				current.order = append(current.order, slot)
			}
			current.left[slot] = slots.Tries
		}
		return nil
	})
}
