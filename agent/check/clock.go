package check

import (
	"time"

	"telltale.dev/hal/clock"
)

// earliest is before any time at which this program can run.
const earliest = 2026

// Clock says where the time comes from. The zero value is right on a device.
type Clock struct {
	RTC string // folder of the hardware clock; empty: clock.DefaultRTC
	// Synchronised says whether the kernel's clock is disciplined; nil asks the kernel.
	Synchronised func() (bool, error)
	Now          time.Time // zero: now
}

// Look judges the clock.
func (c Clock) Look() Line {
	if c.Synchronised == nil {
		c.Synchronised = func() (bool, error) {
			synced, _, err := clock.Synchronised()
			return synced, err
		}
	}
	if c.Now.IsZero() {
		c.Now = time.Now()
	}
	const setIt = "timedatectl set-ntp true, or set it from the vehicle; without the right time TLS fails"
	text := c.Now.UTC().Format(time.DateTime) + " UTC"
	if c.Now.Year() < earliest {
		return Failure("clock", setIt, "%s is before this program was made", text)
	}
	hardware, known := clock.ReadRTC(c.RTC)
	switch {
	case !known:
		text += ", no hardware clock"
	case hardware.Sub(c.Now).Abs() > clock.MaxDrift:
		return Warning("clock", "hwclock --systohc once the time is right; after a power cut it would be wrong", "%s, the hardware clock says %s", text, hardware.UTC().Format(time.DateTime))
	default:
		text += ", hardware clock agrees"
	}
	good, err := c.Synchronised()
	switch {
	case err != nil:
		return Warning("clock", setIt, "%s, unknown whether synchronised: %v", text, err)
	case !good:
		return Warning("clock", setIt, "%s, not synchronised", text)
	}
	return Okay("clock", "%s, synchronised", text)
}
