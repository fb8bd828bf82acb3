package socketcan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
)

// seenInterface is what every process may know of an interface without netlink.
type seenInterface struct {
	index int
	up    bool
	mtu   int
}

// lookAt finds a CAN interface by name; any socket will do. An interface of
// another kind is a mistake in the configuration, a missing one may come.
func lookAt(fd int, name string) (s seenInterface, err error) {
	ask := func(request uint) (*unix.Ifreq, error) {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return nil, err
		}
		return r, unix.IoctlIfreq(fd, request, r)
	}
	r, err := ask(unix.SIOCGIFINDEX)
	if errors.Is(err, unix.ENODEV) {
		return s, fmt.Errorf("there is no such interface: %w", err)
	} else if err != nil {
		return s, err
	}
	s.index = int(r.Uint32())
	if r, err = ask(unix.SIOCGIFHWADDR); err != nil {
		return s, err
	}
	if kind := r.Uint16(); kind != unix.ARPHRD_CAN {
		return s, fmt.Errorf("%w: it is not a CAN interface (ARP hardware type %d, expected %d)", canbus.ErrConfig, kind, unix.ARPHRD_CAN)
	}
	if r, err = ask(unix.SIOCGIFFLAGS); err != nil {
		return s, err
	}
	s.up = r.Uint16()&unix.IFF_UP != 0
	if r, err = ask(unix.SIOCGIFMTU); err != nil {
		return s, err
	}
	s.mtu = int(r.Uint32())
	return s, nil
}
