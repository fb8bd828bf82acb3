//go:build linux

package main

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

// bus brings a CAN interface up. Bit rates are set by the agent, which knows them.
func bus(ctx context.Context, b busConfig) error {
	if b.Make == "vcan" {
		if err := makeVCAN(b.Name); err != nil {
			return err
		}
		if err := interfaceUp(b.Name); err != nil {
			return err
		}
	}
	if b.Cable != "" {
		go func() {
			if err := cable(ctx, b); err != nil {
				say("cable of %s: %v", b.Name, err)
			}
		}()
	}
	return nil
}

// cable puts what comes through a virtio-serial port, lines of candump's log
// format, on the bus as they come.
func cable(ctx context.Context, b busConfig) error {
	port, err := vport.Open(b.Cable, portWait)
	if err != nil {
		return err
	}
	defer port.Close()
	socket, err := rawSocket(b.Name)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	var frame can.Frame
	for lines := bufio.NewScanner(port); lines.Scan() && ctx.Err() == nil; {
		if _, err := can.ParseCandump(lines.Bytes(), &frame); err != nil {
			say("cable of %s: %v", b.Name, err)
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
