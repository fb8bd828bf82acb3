//go:build linux

// Package virtual is what only a virtual board has: a cable from the machine that runs QEMU to its bus. The
// first process has it only when it is built with the tag virtualboard, as that of QEMU's board is.
package virtual

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/firmware-images/vport"
	"telltale.dev/protocol/can"
)

// portWait is how long a virtio-serial port may take to appear.
const portWait = 5 * time.Second

// Cable puts what comes through a virtio-serial port, lines of candump's log format, on the bus as they
// come, until ctx or the other end ends it. Lines that are no frames are said and left out.
func Cable(ctx context.Context, say func(format string, args ...any), bus, portName string) error {
	port, err := vport.Open(portName, portWait)
	if err != nil {
		return err
	}
	defer port.Close()
	socket, err := rawSocket(bus)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	var frame can.Frame
	for lines := bufio.NewScanner(port); lines.Scan() && ctx.Err() == nil; {
		if _, err := can.ParseCandump(lines.Bytes(), &frame); err != nil {
			say("cable of %s: %v", bus, err)
			continue
		}
		if err := send(socket, encode(&frame)); err != nil {
			return err
		}
	}
	return errors.New("the other end has closed it")
}

// rawSocket opens a socket bound to a CAN interface, for FD frames, too.
func rawSocket(name string) (int, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	s, err := unix.Socket(unix.AF_CAN, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.CAN_RAW)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	err = unix.SetsockoptInt(s, unix.SOL_CAN_RAW, unix.CAN_RAW_FD_FRAMES, 1)
	if err == nil {
		err = unix.Bind(s, &unix.SockaddrCAN{Ifindex: link.Index})
	}
	if err != nil {
		unix.Close(s)
		return 0, fmt.Errorf("socket: %w", err)
	}
	return s, nil
}

// send waits for room in the interface's queue.
func send(socket int, frame []byte) error {
	for {
		_, err := unix.Write(socket, frame)
		if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINTR) {
			time.Sleep(time.Millisecond)
			continue
		}
		return err
	}
}
