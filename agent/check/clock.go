package check

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// earliest is before any time at which this program can run.
const earliest = 2026

// drift is how far the hardware clock may be off.
const drift = 2 * time.Minute

// Clock says where the time comes from. The zero value is right on a device.
type Clock struct {
	RTC string // folder of the hardware clock; empty: /sys/class/rtc/rtc0
	// Synchronised says whether the kernel's clock is disciplined; nil asks the kernel.
	Synchronised func() (bool, error)
	Now          time.Time // zero: now
}

// Look judges the clock.
func (c Clock) Look() Line {
	if c.RTC == "" {
		c.RTC = "/sys/class/rtc/rtc0"
	}
	if c.Synchronised == nil {
		c.Synchronised = synchronised
	}
	if c.Now.IsZero() {
		c.Now = time.Now()
	}
	const setIt = "timedatectl set-ntp true, or set it from the vehicle; without the right time TLS fails"
	text := c.Now.UTC().Format(time.DateTime) + " UTC"
	if c.Now.Year() < earliest {
		return Failure("clock", setIt, "%s is before this program was made", text)
	}
	hardware, known := c.hardware()
	switch {
	case !known:
		text += ", no hardware clock"
	case hardware.Sub(c.Now).Abs() > drift:
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

// hardware reads the hardware clock, which keeps UTC.
func (c Clock) hardware() (time.Time, bool) {
	text, err := os.ReadFile(filepath.Join(c.RTC, "since_epoch"))
	if err != nil {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return time.Unix(seconds, 0), err == nil
}
