package socketcan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
)

// configure sets bit rate and mode as the options ask for, unless they are so
// already, and takes the interface up. It needs CAP_NET_ADMIN when it changes something.
func configure(index int, o *Options) error {
	link, err := readLink(index)
	if err != nil {
		return err
	}
	if link.Kind != kindController {
		if o.BitrateHz > 0 || o.ListenOnly {
			return fmt.Errorf("%w: the options bitrate and listen-only are for controllers, and this interface is of kind %q", canbus.ErrConfig, link.Kind)
		}
		return enableFD(&link, o)
	}
	if link.Up && fits(&link, o) {
		return nil
	}
	if link.Up { // the kernel takes new settings only while it is down
		if err := setLink(index, 0, unix.IFF_UP, nil); err != nil {
			return err
		}
	}
	if !fits(&link, o) {
		if err := setLink(index, 0, 0, o.encode); err != nil {
			return err
		}
		if link, err = readLink(index); err != nil {
			return err
		}
		if !near(link.BitrateHz, o.BitrateHz) || !near(link.DataBitrateHz, o.DataBitrateHz) {
			return fmt.Errorf("%w: the controller's clock allows the bit rates %d and %d only, expected %d and %d",
				canbus.ErrConfig, link.BitrateHz, link.DataBitrateHz, o.BitrateHz, o.DataBitrateHz)
		}
	}
	return setLink(index, unix.IFF_UP, unix.IFF_UP, nil)
}

// near says whether a bit rate is the wanted one to 0.5 %, about what two
// oscillators may differ by; the kernel itself takes 5 %. 0: any will do.
func near(have, want uint32) bool {
	const part = 200
	return want == 0 || max(have, want)-min(have, want) <= want/part
}

// fits says whether nothing is to be changed.
func fits(l *canbus.Link, o *Options) bool {
	return (o.BitrateHz == 0 || near(l.BitrateHz, o.BitrateHz) && l.RestartMS == o.restartMS()) &&
		near(l.DataBitrateHz, o.DataBitrateHz) &&
		(!o.FD || l.FD) && (!o.ListenOnly || l.ListenOnly) && (o.ListenOnly || o.BitrateHz == 0 || !l.ListenOnly)
}

func (o *Options) restartMS() uint32 {
	if o.Restart == 0 {
		return uint32(DefaultRestart / time.Millisecond)
	}
	return uint32(o.Restart / time.Millisecond)
}

// enableFD makes a virtual interface take CAN FD frames.
func enableFD(l *canbus.Link, o *Options) error {
	if !o.FD || l.FD {
		return nil
	}
	return setMTU(l.Index, sizeFD)
}

// setMTU sets the longest frame of a virtual interface, which must be down for it, and takes it up.
func setMTU(index int, mtu uint32) error {
	if err := setLink(index, 0, unix.IFF_UP, nil); err != nil {
		return err
	}
	err := setLink(index, 0, 0, func(e *netlink.AttributeEncoder) error {
		e.Uint32(unix.IFLA_MTU, mtu)
		return nil
	})
	return errors.Join(err, setLink(index, unix.IFF_UP, unix.IFF_UP, nil))
}

// encode writes the settings of a controller. What we set the bit rate of is
// set wholly: a listen-only mode of somebody else does not stay.
func (o *Options) encode(e *netlink.AttributeEncoder) error {
	var mask, flags uint32
	mode := func(bit uint32, on bool) {
		if on || o.BitrateHz > 0 {
			mask |= bit
		}
		if on {
			flags |= bit
		}
	}
	mode(unix.CAN_CTRLMODE_LISTENONLY, o.ListenOnly)
	if o.FD { // a controller without CAN FD refuses even its absence
		mode(unix.CAN_CTRLMODE_FD, true)
	}
	e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
		e.String(unix.IFLA_INFO_KIND, kindController)
		e.Nested(unix.IFLA_INFO_DATA, func(e *netlink.AttributeEncoder) error {
			if o.BitrateHz > 0 {
				e.Bytes(unix.IFLA_CAN_BITTIMING, bitTiming(o.BitrateHz))
				e.Uint32(unix.IFLA_CAN_RESTART_MS, o.restartMS())
			}
			if o.DataBitrateHz > 0 {
				e.Bytes(unix.IFLA_CAN_DATA_BITTIMING, bitTiming(o.DataBitrateHz))
			}
			e.Bytes(unix.IFLA_CAN_CTRLMODE, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, mask), flags))
			return nil
		})
		return nil
	})
	return nil
}

// bitTiming is struct can_bittiming with the bit rate alone; the kernel finds the rest.
func bitTiming(hz uint32) []byte {
	const size = 32
	b := make([]byte, size)
	binary.NativeEndian.PutUint32(b, hz)
	return b
}

// setLink changes an interface.
func setLink(index int, flags, change uint32, more func(*netlink.AttributeEncoder) error) error {
	return request(unix.RTM_NEWLINK, 0, unix.IfInfomsg{Index: int32(index), Flags: flags, Change: change}, more)
}

// request sends one message about an interface and explains a refusal.
func request(kind, flags netlink.HeaderType, info unix.IfInfomsg, more func(*netlink.AttributeEncoder) error) error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer conn.Close()
	data := ifInfo(info)
	if more != nil {
		e := netlink.NewAttributeEncoder()
		if err := more(e); err != nil {
			return err
		}
		attributes, err := e.Encode()
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		data = append(data, attributes...)
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | netlink.HeaderFlags(flags)},
		Data:   data,
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("setting the interface: %w: the capability CAP_NET_ADMIN is needed; without it leave bitrate, fd and listen-only out and let the system set them", reason(err))
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.EDOM):
		return fmt.Errorf("%w: setting the interface: %w: the controller does not offer this bit rate or mode (CAN FD needs bitrate and dbitrate)", canbus.ErrConfig, reason(err))
	}
	return fmt.Errorf("setting the interface: %w", reason(err))
}

// AddVirtual makes a virtual CAN interface (vcan) that takes CAN FD frames, and
// takes it up. It needs CAP_NET_ADMIN, which everybody has in a network
// namespace of his own. An interface of that name that is there already is an error wrapping EEXIST.
func AddVirtual(name string) error {
	if err := checkInterface(name); err != nil {
		return err
	}
	info := unix.IfInfomsg{Flags: unix.IFF_UP, Change: unix.IFF_UP}
	err := request(unix.RTM_NEWLINK, netlink.HeaderType(netlink.Create|netlink.Excl), info, func(e *netlink.AttributeEncoder) error {
		e.String(unix.IFLA_IFNAME, name)
		e.Uint32(unix.IFLA_MTU, sizeFD)
		e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
			e.String(unix.IFLA_INFO_KIND, "vcan")
			return nil
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("virtual can interface %s: %w", name, err)
	}
	return nil
}

// Remove takes an interface away.
func Remove(name string) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	return request(unix.RTM_DELLINK, 0, unix.IfInfomsg{Index: int32(index)}, nil)
}

// SetUp takes an interface up or down.
func SetUp(name string, up bool) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	var flags uint32
	if up {
		flags = unix.IFF_UP
	}
	return setLink(index, flags, unix.IFF_UP, nil)
}

// indexOf finds any interface.
func indexOf(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r)
	}
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return int(r.Uint32()), nil
}
