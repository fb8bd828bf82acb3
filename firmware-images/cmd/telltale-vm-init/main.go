//go:build linux

// Command telltale-vm-init is the first process of telltale-vm's guest: it
// loads the kernel modules, runs the program of the job and tells its output
// and exit code. It ends only with the machine.
package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/firmware-images/guest/job"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "telltale-vm-init: expected to be the first process of a guest")
		os.Exit(2)
	}
	if err := job.Run(); err != nil {
		fmt.Println("telltale-vm-init:", err)
		unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	for { // the host has the result and ends the machine
		time.Sleep(time.Hour)
	}
}
