package qemu

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel kill the child when this process is killed.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
