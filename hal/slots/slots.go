// Package slots is the port to the vehicle's two firmware slots: which one
// runs, which one the boot loader tries next, and how a new image gets into the
// other one.
//
// Drivers are sibling folders: uboot for U-Boot with its boot-state sector.
// slotstest holds the suite that each driver passes, and a fake. Whether an
// image may be installed at all (signature, board, release) is decided before, by the caller;
// the boot loader checks the image's own signature again at each start. On a device whose agent
// may not write the slots itself, a process with root's rights owns them (Owner), decides that once more
// and holds the agent to rules; the agent has a Remote.
//
//	Install          restart            healthy and connected
//	 ───────▶ other slot first ─▶ it runs, on trial ─▶ Confirm: it stays first
//	          with Tries tries       │
//	                                 └ never confirmed, or Rollback: the former slot runs again
//
// Starts are counted only while a slot is on trial. A confirmed slot is passed over at a
// start only when the boot loader cannot read or verify it, and it stays the
// confirmed one: the next start tries it again. So a machine that loses its power
// during starts, as in cranking, keeps its firmware however often that happens.
package slots

import (
	"context"
	"errors"
	"io"
	"slices"
)

// Slot names one of the two firmware slots. The zero value means unknown.
type Slot string

// The slots.
const (
	A Slot = "A"
	B Slot = "B"
)

// Tries is how often the boot loader starts a slot on trial that nobody confirms.
const Tries = 3

// ExitRestart is the exit code by which the agent asks whoever supervises it to
// restart the machine, as after an install or a rollback: the first process of
// the firmware images does so at once. Any other exit lets the agent be started again.
const ExitRestart = 77

// All lists the slots in the order that is tried when nothing else is known.
func All() []Slot { return []Slot{A, B} }

// Other is the slot beside s, or "" for an unknown one.
func (s Slot) Other() Slot {
	switch s {
	case A:
		return B
	case B:
		return A
	}
	return ""
}

// Conditions that callers branch on.
var (
	// ErrSize says that an image does not fit into the slot, or has another size than announced.
	ErrSize = errors.New("size of the image")
	// ErrUnbootable says that the slot asked for holds no image that may be started.
	ErrUnbootable = errors.New("slot holds nothing that may be started")
	// ErrTrial says that the slot that runs is on trial: the other one is what it would fall back to.
	ErrTrial = errors.New("needed as long as the slot that runs has not been confirmed")
	// ErrReadBack says that the slot gives back other bytes than were written.
	ErrReadBack = errors.New("slot does not hold what was written")
	// ErrBusy says that another install is under way.
	ErrBusy = errors.New("another install is under way")
	// ErrBooted says that nobody knows which slot runs.
	ErrBooted = errors.New("unknown which slot runs")
)

// Status is what the boot loader will do next, and what runs now.
type Status struct {
	Booted Slot   // the slot that runs; "" when the kernel's command line does not say
	Order  []Slot // the slots that the boot loader tries, first first; a slot that is not listed is never tried
	// Left are the starts that a slot has before the boot loader passes to the next in
	// Order, 0 to Tries. They are counted, and looked at, only for the slot on trial.
	Left map[Slot]int
	// OnTrial is the slot that was installed last, as long as nobody has confirmed it; "" when there is none.
	OnTrial Slot
	// Trial says that the slot that runs is on trial: it is to be confirmed only when the
	// vehicle is healthy and connected again.
	Trial bool
	// Problem is empty, or says in words why the stored state could not be used
	// and the default (A then B) is in force. The next change writes a good one.
	Problem string
}

// Bootable says whether the boot loader would start slot, if it can be read and verified.
func (s Status) Bootable(slot Slot) bool {
	return slices.Contains(s.Order, slot) && (slot != s.OnTrial || s.Left[slot] > 0)
}

// Next is the slot that the boot loader tries first at the next start; "" when there is none.
func (s Status) Next() Slot {
	if i := slices.IndexFunc(s.Order, s.Bootable); i >= 0 {
		return s.Order[i]
	}
	return ""
}

// Confirmed is the slot that is to run when none is on trial: the first of Order that is not
// on trial itself. It is "" when the stored state could not be used, since then nobody knows.
func (s Status) Confirmed() Slot {
	i := slices.IndexFunc(s.Order, func(slot Slot) bool { return slot != s.OnTrial })
	if i < 0 || s.Problem != "" {
		return ""
	}
	return s.Order[i]
}

// Slots are the two slots and the boot state. Each method may be called by any
// goroutine and any process: changes exclude each other. A change has been stored when it returns.
type Slots interface {
	// Status reads the boot state. A damaged one is no error, see Status.Problem.
	Status() (Status, error)
	// Install writes exactly size bytes of image into the slot that does not run. Until the
	// last byte has been stored and read back that slot is never started; then it
	// becomes the first with Tries tries, on trial. Before anything has been written it
	// returns ErrSize when the image cannot fit, ErrTrial when the slot that runs is itself on
	// trial, and ErrBusy while another install is under way; ctx.Err() when ctx ends. After a later error the slot that runs is the only one that is started.
	Install(ctx context.Context, image io.Reader, size int64) error
	// Confirm makes the slot that runs the first, with Tries tries, and ends its trial.
	Confirm() error
	// Prefer makes slot the first, and the one that runs, when it is another one, the second,
	// each with Tries tries. It is for ordinary starts: boot loaders of before counted the starts
	// of confirmed slots, too. ErrTrial when slot or the one that runs is on trial.
	Prefer(slot Slot) error
	// Rollback makes the other slot the first, with Tries tries, and ends a trial;
	// ErrUnbootable when it holds nothing that may be started.
	Rollback() error
}
