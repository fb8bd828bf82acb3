package uboot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"telltale.dev/hal/slots"
)

// SectorSize is the size of the boot state in bytes: one sector, so that a
// device writes it as a whole or not at all.
const SectorSize = 512

// Names of the variables. The first three are RAUC's, so that RAUC and U-Boot
// scripts written for it read them, too.
const (
	orderName = "BOOT_ORDER"
	trialName = "TELLTALE_TRIAL" // the slot installed last, until it has been confirmed
)

func leftName(s slots.Slot) string { return "BOOT_" + string(s) + "_LEFT" }

// state is the content of the sector.
type state struct {
	order []slots.Slot
	left  map[slots.Slot]int
	trial slots.Slot
	// others are variables that we do not know, as name=value; they are kept.
	others []string
}

// initial is the state in force when none can be read: A, then B.
func initial() *state {
	return &state{order: slots.All(), left: map[slots.Slot]int{slots.A: slots.Tries, slots.B: slots.Tries}}
}

// EncodeState gives the sector of a device whose slots of these names, in this
// order, hold firmware that nobody need confirm.
func EncodeState(bootable ...slots.Slot) []byte {
	s := &state{left: map[slots.Slot]int{}}
	for _, slot := range slices.Backward(bootable) {
		s.first(slot)
	}
	sector, err := s.encode()
	if err != nil {
		panic(err) // a broken invariant: a few dozen bytes fit
	}
	return sector
}

// disable takes a slot out: it is never started.
func (s *state) disable(slot slots.Slot) {
	s.order = slices.DeleteFunc(s.order, func(o slots.Slot) bool { return o == slot })
	s.left[slot] = 0
}

// first makes a slot the first, with all tries.
func (s *state) first(slot slots.Slot) {
	s.disable(slot)
	s.order = slices.Insert(s.order, 0, slot)
	s.left[slot] = slots.Tries
}

// encode writes the sector in the form of a U-Boot environment without a
// redundant copy:
//
//	┌────────────┬──────────────────────────────────────────────┐
//	│ CRC-32, LE │ name=value NUL name=value NUL … NUL, 0-filled │
//	└────────────┴──────────────────────────────────────────────┘
func (s *state) encode() ([]byte, error) {
	order := make([]string, len(s.order))
	for i, slot := range s.order {
		order[i] = string(slot)
	}
	lines := append([]string{orderName + "=" + strings.Join(order, " ")}, s.others...)
	for _, slot := range slots.All() {
		lines = append(lines, leftName(slot)+"="+strconv.Itoa(s.left[slot]))
	}
	if s.trial != "" {
		lines = append(lines, trialName+"="+string(s.trial))
	}
	slices.Sort(lines)
	text := strings.Join(lines, "\x00") + "\x00\x00"
	if len(text) > SectorSize-4 {
		return nil, fmt.Errorf("boot state: %d bytes of variables; expected at most %d", len(text), SectorSize-4)
	}
	sector := make([]byte, SectorSize)
	copy(sector[4:], text)
	binary.LittleEndian.PutUint32(sector, crc32.ChecksumIEEE(sector[4:]))
	return sector, nil
}

// decode reads a sector. Any error means that the default is in force.
func decode(sector []byte) (*state, error) {
	if len(sector) != SectorSize {
		return nil, fmt.Errorf("boot state: %d bytes; expected %d", len(sector), SectorSize)
	}
	if got, want := crc32.ChecksumIEEE(sector[4:]), binary.LittleEndian.Uint32(sector); got != want {
		return nil, fmt.Errorf("boot state: checksum %08x; expected %08x", got, want)
	}
	text, _, ok := bytes.Cut(sector[4:], []byte{0, 0})
	if !ok {
		return nil, fmt.Errorf("boot state: variables do not end within the sector")
	}
	s := &state{left: map[slots.Slot]int{}}
	seen := map[string]bool{}
	for _, line := range strings.Split(string(text), "\x00") {
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" || seen[name] {
			return nil, fmt.Errorf("boot state: variable %q; expected name=value, each name once", name)
		}
		seen[name] = true
		if err := s.set(name, value); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{orderName, leftName(slots.A), leftName(slots.B)} {
		if !seen[name] {
			return nil, fmt.Errorf("boot state: %s is missing", name)
		}
	}
	return s, nil
}

// orders are the values that the order may have, as boot.cmd compares them.
var orders = []string{"A", "B", "A B", "B A"}

// set takes over one variable. It accepts what boot.cmd accepts, so that both ends
// agree on when the default is in force.
func (s *state) set(name, value string) error {
	switch name {
	case orderName:
		if !slices.Contains(orders, value) {
			return fmt.Errorf("boot state: %s %.32q; expected each of A and B at most once, with a space between", name, value)
		}
		for _, word := range strings.Fields(value) {
			s.order = append(s.order, slots.Slot(word))
		}
	case leftName(slots.A), leftName(slots.B):
		if len(value) != 1 || value[0] < '0' || value[0] > '0'+slots.Tries {
			return fmt.Errorf("boot state: %s %.32q; expected 0 to %d", name, value, slots.Tries)
		}
		s.left[slots.Slot(name[5:6])] = int(value[0] - '0')
	case trialName:
		s.trial = slots.Slot(value)
		if value != "" && s.trial.Other() == "" {
			return fmt.Errorf("boot state: %s %.32q; expected A or B", name, value)
		}
	default:
		s.others = append(s.others, name+"="+value)
	}
	return nil
}
