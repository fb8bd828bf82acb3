package world

import "syscall"

// childAttributes makes children end with us, even when we are killed, and
// keeps a Ctrl-C of the terminal away from them: we end them in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
