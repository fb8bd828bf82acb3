//go:build !linux

package world

import "syscall"

// childAttributes keeps a Ctrl-C of the terminal away from the children: we end them in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
