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
	console := process.NewConsole(os.Stdout)
	say := console.Say
	err := boot.Run(console)
	how := unix.LINUX_REBOOT_CMD_RESTART
	if errors.Is(err, process.ErrOff) {
		how = unix.LINUX_REBOOT_CMD_POWER_OFF
		say("powering off: %v", err)
	} else {
		say("restarting: %v", err)
	}
	unix.Sync()
	console.Flush(flushTime)
	time.Sleep(consoleDrain)
	if err := unix.Reboot(how); err != nil {
		say("restart: %v", err)
	}
	for { // the watchdog is not fed any more
		time.Sleep(time.Hour)
	}
}

// How long what was said last may take: to be printed, and then to leave a slow serial line.
const (
	flushTime    = time.Second
	consoleDrain = 50 * time.Millisecond
)
