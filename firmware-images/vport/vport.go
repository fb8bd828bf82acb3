//go:build linux

// Package vport finds the virtio-serial ports of a QEMU guest by their names,
// without udev, and shows the TPM that answers behind one of them as /dev/tpmrm0.
package vport

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// poll is how often to look for what appears late, such as a port's name.
const poll = 2 * time.Millisecond

// Open waits for the port of that name, at most for wait.
func Open(name string, wait time.Duration) (*os.File, error) {
	for end := time.Now().Add(wait); ; time.Sleep(poll) {
		ports, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, p := range ports {
			if text, err := os.ReadFile(p); err == nil && strings.TrimSpace(string(text)) == name {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(p)), os.O_RDWR, 0)
			}
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("expected a virtio-serial port %s", name)
		}
	}
}
