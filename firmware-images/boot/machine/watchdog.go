//go:build linux

package machine

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watchdog is the hardware's: it restarts the machine when it is not fed. The
// zero pointer feeds nothing, for machines without one.
type Watchdog struct {
	f   *os.File
	say Say
}

// watchdogWait is how long the watchdog's device may take to appear.
const watchdogWait = time.Second

// OpenWatchdog starts the watchdog, which then never stops; "" is no device. One that cannot be
// opened is said, and nil.
func OpenWatchdog(say Say, device string, timeout time.Duration) *Watchdog {
	if device == "" {
		return nil
	}
	f, err := appears(device, watchdogWait)
	if err != nil {
		say("watchdog: %v", err)
		return nil
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, int(timeout/time.Second)); err != nil {
		say("watchdog: set the timeout: %v", err)
	}
	w := &Watchdog{f, say}
	w.Feed()
	return w
}

// appears opens a device that may not be there yet.
func appears(path string, wait time.Duration) (*os.File, error) {
	for end := time.Now().Add(wait); ; time.Sleep(2 * time.Millisecond) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil || time.Now().After(end) {
			return f, err
		}
	}
}

// Feed gives the machine another timeout.
func (w *Watchdog) Feed() {
	if w == nil {
		return
	}
	if _, err := w.f.Write([]byte{'.'}); err != nil {
		w.say("watchdog: %v", err)
	}
}
