//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mounts makes the file systems that programs expect.
func mounts() error {
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

// moduleDir holds the kernel modules, and order their names in the order of loading.
const (
	moduleDir   = "/lib/modules"
	moduleOrder = moduleDir + "/order"
)

// loadModules loads what the image brings. One that fails is said and left out:
// what needs it says so again.
func loadModules() {
	order, err := os.ReadFile(moduleOrder)
	if err != nil {
		say("modules: %v", err)
		return
	}
	for _, line := range strings.Split(strings.TrimSpace(string(order)), "\n") {
		name, params, _ := strings.Cut(line, " ")
		path := filepath.Join(moduleDir, name+".ko")
		f, err := os.Open(path)
		if err != nil {
			say("module %s: %v", name, err)
			continue
		}
		err = unix.FinitModule(int(f.Fd()), params, 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			say("module %s: %v", name, err)
		}
		os.Remove(path) // its memory is the machine's
	}
}

// buildTime is written by the image's builder: no clock of this firmware is before it.
const buildTime = "/etc/telltale/built"

// setClock says what came of clock.
func setClock() {
	if err := clock(); err != nil {
		say("clock: %v", err)
	}
}

// clock moves a clock that cannot be right, as on a board without a battery, to
// the latest time known to have passed: that of the build or of the last change
// of the data partition's mark.
func clock() error {
	known := time.Time{}
	if text, err := os.ReadFile(buildTime); err == nil {
		if t, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text))); err == nil {
			known = t
		}
	}
	if info, err := os.Stat(timeMark); err == nil && info.ModTime().After(known) {
		known = info.ModTime()
	}
	now := time.Now()
	if !now.Before(known) {
		return nil
	}
	say("clock: %s is before %s, the last time known", now.UTC().Format(time.DateTime), known.UTC().Format(time.DateTime))
	at := unix.NsecToTimeval(known.UnixNano())
	return unix.Settimeofday(&at)
}

// timeMark is a file on the data partition whose date is the last time seen.
const timeMark = dataMount + "/last-seen"

// markTime stores the time for the next start.
func markTime() {
	if err := os.WriteFile(timeMark, nil, 0o644); err == nil {
		now := time.Now()
		_ = os.Chtimes(timeMark, now, now)
	}
}
