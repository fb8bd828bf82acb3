package socketcan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
)

// Listen opens a socket as Open does and gives it away: for a process that
// starts before the one that will read (Adopt). What the bus says meanwhile
// gathers in the socket, with its times. The descriptor is closed on exec.
func Listen(o Options) (fd int, err error) {
	fd, err = newSocket()
	if err == nil {
		if err = listen(fd, &o); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("can interface %s: %w", o.Interface, err)
	}
	return fd, nil
}

func listen(fd int, o *Options) error {
	index, err := prepare(fd, o)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrCAN{Ifindex: index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// Adopt makes a bus of a socket that Listen has opened, most likely in the
// process that started this one. A descriptor that is no bound CAN socket is
// left alone; any other one belongs to the bus, or is closed after an error.
func Adopt(fd int, o Options) (canbus.Bus, error) {
	bound, err := boundTo(fd)
	if err != nil {
		return nil, fmt.Errorf("can interface %s: descriptor %d: %w", o.Interface, fd, err)
	}
	unix.CloseOnExec(fd)
	index, err := prepare(fd, &o)
	if err == nil && index != bound {
		err = errors.New("the socket that was handed over is not of this interface")
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("can interface %s: %w", o.Interface, err)
	}
	return newBus(fd, o)
}

// boundTo gives the index of the interface that a CAN_RAW socket is bound to.
func boundTo(fd int) (index int, err error) {
	address, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	can, ok := address.(*unix.SockaddrCAN)
	if !ok || can.Ifindex == 0 {
		return 0, errors.New("expected a CAN socket that is bound to an interface")
	}
	return can.Ifindex, nil
}

// newSocket makes a CAN_RAW socket and explains why there is none.
func newSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_CAN, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.CAN_RAW)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return -1, fmt.Errorf("%w: this kernel has no CAN sockets (modprobe can-raw), or the service may not use them (RestrictAddressFamilies=AF_CAN)", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return -1, fmt.Errorf("CAN socket: %w: the capability CAP_NET_RAW may be missing, or a sandbox forbids it", err)
	}
	return -1, fmt.Errorf("CAN socket: %w", err)
}

// prepare finds and sets the interface, then sets up the socket. It gives the interface's index.
func prepare(fd int, o *Options) (index int, err error) {
	state, err := lookAt(fd, o.Interface)
	if err != nil {
		return 0, err
	}
	if o.configures() {
		if err := configure(state.index, o); err != nil {
			return 0, err
		}
		if state, err = lookAt(fd, o.Interface); err != nil {
			return 0, err
		}
	}
	if !state.up {
		return 0, fmt.Errorf("the interface is down: %w", unix.ENETDOWN)
	}
	return state.index, setOptions(fd, o)
}

// setOptions turns on time stamps, the drop counter, CAN FD and error frames.
func setOptions(fd int, o *Options) error {
	size := o.Buffer
	if size == 0 {
		size = DefaultBuffer
	}
	// Beyond net.core.rmem_max only with CAP_NET_ADMIN; without it we get what that allows.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
			return fmt.Errorf("receive buffer: %w", err)
		}
	}
	// The form with 64-bit seconds came with Linux 5.1. For the machine's first such
	// socket the kernel begins some milliseconds later (net_enable_timestamp): until
	// then a frame is stamped when it is read.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return fmt.Errorf("time stamps: %w", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1); err != nil {
		return fmt.Errorf("drop counter: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_CAN_RAW, unix.CAN_RAW_FD_FRAMES, 1); err != nil {
		return fmt.Errorf("CAN FD: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_CAN_RAW, unix.CAN_RAW_ERR_FILTER, unix.CAN_ERR_MASK); err != nil {
		return fmt.Errorf("error frames: %w", err)
	}
	return nil
}
