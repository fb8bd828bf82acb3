//go:build !linux

package qemu

import "os/exec"

// dieWithParent needs Linux; elsewhere a killed parent leaves QEMU behind.
func dieWithParent(*exec.Cmd) {}
