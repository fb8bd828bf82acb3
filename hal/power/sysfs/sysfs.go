// Package sysfs puts a Linux machine to sleep and sets the alarm of its clock,
// through files of the kernel. It cannot arm a modem: boards differ, and theirs is a driver of its own.
package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"telltale.dev/hal/power"
)

// Alarm is the alarm of a real-time clock.
type Alarm struct {
	// Dir of the clock; empty: /sys/class/rtc/rtc0.
	Dir string
}

// Machine sleeps.
type Machine struct {
	// Dir with the kernel's files; empty: /sys/power.
	Dir string
	// Mode is mem, standby, freeze or disk; empty: mem, or freeze where there is no mem.
	Mode string
}

var (
	_ power.Waker   = Alarm{}
	_ power.Sleeper = Machine{}
)

// Arm implements power.Waker. A time that is over, or nearly, is an error: the machine would not wake.
func (a Alarm) Arm(w power.Wake) error {
	if w.Modem {
		return fmt.Errorf("wake by modem: %w", power.ErrUnsupported)
	}
	name := filepath.Join(a.dir(), "wakealarm")
	// An alarm that is set must be cleared before the next (Documentation/ABI/testing/sysfs-class-rtc).
	if err := write(name, "0"); err != nil {
		return fmt.Errorf("alarm: %w", explain(err))
	}
	if w.At.IsZero() {
		return nil
	}
	left := time.Until(w.At)
	if left < time.Second {
		return fmt.Errorf("alarm at %s: expected a time to come", w.At.UTC().Format(time.RFC3339))
	}
	at := a.now().Add(left + time.Second - 1).Unix() // not before it
	if err := write(name, strconv.FormatInt(at, 10)); err != nil {
		return fmt.Errorf("alarm: %w", explain(err))
	}
	return nil
}

// now is the time of the clock itself, which may be another than ours.
func (a Alarm) now() time.Time {
	text, err := os.ReadFile(filepath.Join(a.dir(), "since_epoch"))
	if err != nil {
		return time.Now()
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return time.Now()
	}
	return time.Unix(seconds, 0)
}

func (a Alarm) dir() string {
	if a.Dir == "" {
		return "/sys/class/rtc/rtc0"
	}
	return a.Dir
}

// Suspend implements power.Sleeper.
func (m Machine) Suspend() error {
	dir := m.Dir
	if dir == "" {
		dir = "/sys/power"
	}
	name := filepath.Join(dir, "state")
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("suspend: %w", explain(err))
	}
	can := strings.Fields(string(text))
	mode := m.Mode
	if mode == "" {
		mode = "mem"
		if !slices.Contains(can, mode) {
			mode = "freeze"
		}
	}
	if !slices.Contains(can, mode) {
		return fmt.Errorf("suspend to %s: %w: expected one of %v", mode, power.ErrUnsupported, can)
	}
	if err := write(name, mode); err != nil { // returns when the machine runs again
		return fmt.Errorf("suspend to %s: %w", mode, explain(err))
	}
	return nil
}

// write writes to a file of the kernel's, which is never made.
func write(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// explain says what is wrong without the path.
func explain(err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: expected to be allowed to write the kernel's file", power.ErrDenied)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%w (%w)", power.ErrUnsupported, cause(err))
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
