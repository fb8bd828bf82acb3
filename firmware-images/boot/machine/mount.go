//go:build linux

// Package machine readies a machine for the programs of a device, as its first process must: file
// systems, kernel modules, the clock and the hardware watchdog. Each step says what it cannot do and
// goes on, but for the file systems, without which nothing runs.
package machine

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Say prints a line on the console, in the form of fmt.Printf.
type Say = func(format string, args ...any)

// Mount makes the file systems that programs expect.
func Mount() error {
	for _, m := range []struct{ kind, target, options string }{
		{"devtmpfs", "/dev", ""},
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"tmpfs", "/tmp", "mode=1777,size=32m"},
		{"tmpfs", "/run", "mode=755,size=32m"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.target, m.kind, unix.MS_NOSUID, m.options); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return os.MkdirAll("/run/telltale", 0o755)
}
