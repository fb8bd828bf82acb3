// Package clock says how far the system's clock can be trusted: who set it, and whether
// that still holds. It does not set it. Kernel asks the system; clocktest holds a fake.
package clock

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Quality is where the time comes from.
type Quality uint8

// The qualities. GNSS is for a driver of a receiver that sets the clock; Kernel cannot tell it from Network.
const (
	Unknown  Quality = iota // nobody can be asked
	GNSS                    // satellites
	Network                 // the kernel's clock is disciplined: NTP, PTP, or whatever feeds it
	Hardware                // it runs free and agrees with the hardware clock
	Unset                   // nothing says that it is right
)

// Clock says how far the time can be trusted now. It may be asked by any goroutine, and at any rate.
type Clock interface {
	Quality() Quality
}

// MaxError is how far a disciplined clock may be off by the kernel's own estimate. The kernel
// lets the estimate grow by 0.5 ms a second (500 ppm) while nobody corrects the clock, and
// clients of NTP ask at least every 34 minutes (RFC 5905, 7.3: up to 2^17 s are allowed, theirs are 2048 s).
const MaxError = 4 * time.Second

// MaxDrift is how far the hardware clock and the system's may differ and still agree: it tells whole seconds.
const MaxDrift = 2 * time.Minute

// earliest is 2025-01-01, in seconds since 1970, and before this was written. A hardware clock that tells less has lost
// its power; the system's clock was set by it at the start and agrees with it, which says nothing.
const earliest = 1735689600

// DefaultRTC is the folder of the hardware clock on Linux.
const DefaultRTC = "/sys/class/rtc/rtc0"

// keep is how long Kernel keeps what it found: reading a hardware clock may take milliseconds.
const keep = 10 * time.Second

// Kernel asks the kernel and the hardware clock. The zero value is right on a device.
type Kernel struct {
	RTC string // folder of the hardware clock; empty: DefaultRTC
	// Sync says whether the kernel's clock is disciplined, and its largest error; nil asks the kernel.
	Sync func() (synced bool, most time.Duration, err error)

	mu    sync.Mutex // guards all below
	found Quality
	asked time.Time // by the monotonic clock; zero: never
}

var _ Clock = (*Kernel)(nil)

// Quality implements Clock.
func (k *Kernel) Quality() Quality {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); k.asked.IsZero() || now.Sub(k.asked) >= keep {
		k.found, k.asked = k.look(now), now
	}
	return k.found
}

func (k *Kernel) look(now time.Time) Quality {
	ask := k.Sync
	if ask == nil {
		ask = Synchronised
	}
	synced, most, err := ask()
	switch {
	case err != nil:
		return Unknown
	case synced && most <= MaxError:
		return Network
	}
	if hardware, ok := ReadRTC(k.RTC); ok && hardware.Sub(now).Abs() <= MaxDrift && hardware.Unix() > earliest {
		return Hardware
	}
	return Unset
}

// ReadRTC reads the hardware clock, which keeps UTC in whole seconds; false when there is none.
func ReadRTC(folder string) (time.Time, bool) {
	if folder == "" {
		folder = DefaultRTC
	}
	text, err := os.ReadFile(filepath.Join(folder, "since_epoch"))
	if err != nil {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return time.Unix(seconds, 0), err == nil
}
