//go:build linux

// Package buses opens a device's CAN buses before its agent runs, so that what they say meanwhile is kept.
package buses

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"telltale.dev/firmware-images/boot/network"
	"telltale.dev/hal/canbus/socketcan"
)

// Bus is a CAN interface to bring up.
type Bus struct {
	Name   string
	VCAN   bool   // it is made here
	Listen string // URL of the socket that the agent gets; "": none
}

// StampFrames has the kernel note when packets come, from now on: it begins
// some milliseconds after the first socket that asks (net_enable_timestamp), and
// this one asks before there is a bus. The socket stays open.
func StampFrames() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	if err != nil {
		return fmt.Errorf("time stamps: %w", err)
	}
	return nil
}

// AllowBuffers lets a process without rights have as large a receive buffer as a bus may be given (socket(7), rmem_max):
// the agent has none, and its sockets hold what the bus says while it is busy.
func AllowBuffers() error {
	if err := os.WriteFile("/proc/sys/net/core/rmem_max", []byte(strconv.Itoa(socketcan.MaxBuffer)), 0); err != nil {
		return fmt.Errorf("receive buffers: %w", err)
	}
	return nil
}

// Open brings the interface up and opens the socket that the agent gets, nil when none is asked
// for: what the bus says while the agent starts gathers in it.
func Open(b Bus) (*os.File, error) {
	if b.VCAN {
		if err := network.MakeVCAN(b.Name); err != nil {
			return nil, err
		}
		if err := network.InterfaceUp(b.Name); err != nil {
			return nil, err
		}
	}
	if b.Listen == "" {
		return nil, nil
	}
	o, err := socketcan.ParseURL(b.Listen)
	if err != nil {
		return nil, err
	}
	fd, err := socketcan.Listen(o)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), b.Name), nil
}
