package sysfs_test

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/power"
	"telltale.dev/hal/power/sysfs"
)

// TestRealSleep puts the virtual machine of the kernel tests to sleep, and its clock's alarm wakes it.
func TestRealSleep(t *testing.T) {
	if os.Getenv("TELLTALE_VM") != "1" || runtime.GOARCH == "amd64" { // QEMU's PC does not wake from freeze
		t.Skip("it would put this machine to sleep: make test-vm runs it in a virtual one, for ARM")
	}
	const long = 4 * time.Second
	alarm := sysfs.Alarm{}
	at := time.Now().Add(long)
	if err := alarm.Arm(power.Wake{At: at}); err != nil {
		t.Fatal(err)
	}
	began, running := boottime(t), monotonic(t)
	// Not "mem": where that is more than idling the emulator's firmware would have to resume it.
	if err := (sysfs.Machine{Mode: "freeze"}).Suspend(); err != nil {
		t.Fatal(err)
	}
	slept := boottime(t) - began
	t.Logf("slept %v; the machine's own clock went on by %v", slept, monotonic(t)-running)
	if slept < long-2*time.Second || slept > long+4*time.Second {
		t.Errorf("slept %v, want about %v", slept, long)
	}
	text, err := os.ReadFile("/sys/class/rtc/rtc0/wakealarm")
	if err != nil || strings.TrimSpace(string(text)) != "" {
		t.Errorf("afterwards: alarm %q, %v, want none", text, err)
	}
	if err := alarm.Arm(power.Wake{}); err != nil {
		t.Errorf("disarm: %v", err)
	}
}

func boottime(t *testing.T) time.Duration  { return clock(t, unix.CLOCK_BOOTTIME) }
func monotonic(t *testing.T) time.Duration { return clock(t, unix.CLOCK_MONOTONIC) }

func clock(t *testing.T, id int32) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
