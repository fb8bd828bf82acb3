//go:build linux

// Command telltale-init is the first process of the firmware images. It loads
// the kernel modules, mounts, brings network and buses up, checks the data
// partition, and keeps the agent running; it feeds the watchdog only while the
// agent shows life, and restarts the machine when it cannot keep it running.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/firmware-images/boot"
	"telltale.dev/firmware-images/boot/process"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "telltale-init: expected to be the first process of a machine")
		os.Exit(2)
	}
	err := boot.Run(say)
	how := unix.LINUX_REBOOT_CMD_RESTART
	if errors.Is(err, process.ErrOff) {
		how = unix.LINUX_REBOOT_CMD_POWER_OFF
		say("powering off: %v", err)
	} else {
		say("restarting: %v", err)
	}
	unix.Sync()
	time.Sleep(consoleDrain)
	if err := unix.Reboot(how); err != nil {
		say("restart: %v", err)
	}
	for { // the watchdog is not fed any more
		time.Sleep(time.Hour)
	}
}

// consoleDrain lets a slow console print the last words.
const consoleDrain = 50 * time.Millisecond

// say prints a line on the console, with the seconds since the kernel started.
func say(format string, args ...any) {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	fmt.Printf("telltale-init: %d.%02d "+format+"\n", append([]any{now.Sec, now.Nsec / 10_000_000}, args...)...)
}
