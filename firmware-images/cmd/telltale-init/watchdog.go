//go:build linux

package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchdog is the hardware's: it restarts the machine when it is not fed. The
// zero pointer feeds nothing, for machines without one.
type watchdog struct {
	f     *os.File
	every time.Duration
}

// openWatchdog starts it. From then on it never stops.
func openWatchdog(device string, timeout time.Duration) *watchdog {
	if device == "" {
		return nil
	}
	if err := appears(device, time.Second); err != nil {
		say("watchdog: %v", err)
		return nil
	}
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		say("watchdog: %v", err)
		return nil
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, int(timeout/time.Second)); err != nil {
		say("watchdog: set the timeout: %v", err)
	}
	w := &watchdog{f: f, every: timeout / 4}
	w.feed()
	return w
}

func (w *watchdog) feed() {
	if w == nil {
		return
	}
	if _, err := w.f.Write([]byte{'.'}); err != nil {
		say("watchdog: %v", err)
	}
}
