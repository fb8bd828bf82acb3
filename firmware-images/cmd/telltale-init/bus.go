//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/firmware-images/settings"
	"telltale.dev/firmware-images/vport"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
)

// stampFrames has the kernel note when packets come, from now on: it begins
// some milliseconds after the first socket that asks (net_enable_timestamp), and
// this one asks before there is a bus.
func stampFrames() {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // stays open
	if err == nil {
		err = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	if err != nil {
		say("time stamps: %v", err)
	}
}

// buses brings the CAN interfaces up and gives the sockets for the agent.
func buses(ctx context.Context, list []settings.Bus) (handed []handedSocket) {
	for _, b := range list {
		socket, err := bus(ctx, b)
		if err != nil {
			say("bus %s: %v", b.Name, err)
		}
		if socket != nil {
			handed = append(handed, handedSocket{b.Name, socket})
		}
	}
	return handed
}

// bus brings an interface up and opens the socket that the agent gets, unless
// none is asked for: what the bus says while the agent starts gathers in it.
func bus(ctx context.Context, b settings.Bus) (socket *os.File, err error) {
	if b.Make == "vcan" {
		if err := makeVCAN(b.Name); err != nil {
			return nil, err
		}
		if err := interfaceUp(b.Name); err != nil {
			return nil, err
		}
	}
	if b.Listen != "" {
		socket, err = listenTo(b) // after an error the agent goes on trying
	}
	if b.Cable != "" {
		go func() {
			if err := cable(ctx, b); err != nil {
				say("cable of %s: %v", b.Name, err)
			}
		}()
	}
	return socket, err
}

// listenTo opens the socket of a bus.
func listenTo(b settings.Bus) (*os.File, error) {
	o, err := socketcan.ParseURL(b.Listen)
	if err != nil {
		return nil, err
	}
	fd, err := socketcan.Listen(o)
	if err != nil {
		return nil, err
	}
	say("bus %s: listening", b.Name)
	return os.NewFile(uintptr(fd), b.Name), nil
}

// cable puts what comes through a virtio-serial port, lines of candump's log
// format, on the bus as they come.
func cable(ctx context.Context, b settings.Bus) error {
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
