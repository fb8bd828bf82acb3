// Package power is the port to the vehicle's power: whether the ignition is on,
// whether supply is about to end, and how the machine sleeps and wakes.
//
// Drivers are sibling folders: file reads a file that somebody else writes, gpio
// reads lines of a GPIO chip, sysfs suspends a Linux machine and sets its alarm.
// powertest holds the suite that each Supply passes, and a fake. What to do when the
// ignition goes off is not its business.
package power

import (
	"context"
	"errors"
	"time"
)

// Ignition is the position of the ignition switch (terminal 15).
type Ignition uint8

// The positions. Unknown is what nobody has read yet; Next never gives it.
const (
	Unknown Ignition = iota
	Off
	On
)

// String gives "unknown", "off" or "on".
func (i Ignition) String() string {
	switch i {
	case Off:
		return "off"
	case On:
		return "on"
	}
	return "unknown"
}

// State is what the supply tells at one moment.
type State struct {
	Ignition Ignition
	// Ends is when power will be cut; zero: no notice of that. It does not move
	// while the same notice stands.
	Ends time.Time
}

// Equal says whether both tell the same.
func (s State) Equal(o State) bool { return s.Ignition == o.Ignition && s.Ends.Equal(o.Ends) }

// Supply tells about ignition and coming loss of power.
type Supply interface {
	// Next waits until the state differs from last and gives it: with the zero State
	// it gives the present one at once. It returns ctx.Err() when ctx ends, and another error
	// when the state cannot be read now; it may be called again then. It is called
	// by one goroutine at a time.
	Next(ctx context.Context, last State) (State, error)
	Close() error
}

// Sleeper puts the machine to sleep.
type Sleeper interface {
	// Suspend stops the machine and returns when it runs again, or an error when it
	// did not sleep. ErrDenied is wrapped when it is not allowed to.
	Suspend() error
}

// Wake says what shall wake the machine, beside the ignition.
type Wake struct {
	At    time.Time // zero: no alarm
	Modem bool      // a message to the modem (SMS)
}

// Waker arranges how the machine wakes.
type Waker interface {
	// Arm replaces what was armed before; the zero Wake disarms. What the hardware
	// cannot do is an error that wraps ErrUnsupported, and nothing is armed then.
	Arm(Wake) error
}

// ExitPowerOff is the exit code by which the agent says that it has ended because the
// ignition is off, so that whoever supervises it powers the machine off instead of starting it again.
const ExitPowerOff = 76

// Conditions that callers may branch on.
var (
	ErrUnsupported = errors.New("not supported by this hardware")
	ErrDenied      = errors.New("not permitted")
)
