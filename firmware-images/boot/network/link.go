//go:build linux

package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// InterfaceUp brings a network interface up.
func InterfaceUp(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	return nil
}

// canfdMTU is the size of struct canfd_frame (linux/can.h).
const canfdMTU = 72

// request sends one request to the kernel's routing family, header and attributes, and waits for the
// acknowledgement. A refusal is an unix.Errno.
func request(kind netlink.HeaderType, flags netlink.HeaderFlags, header []byte, attributes func(*netlink.AttributeEncoder)) error {
	e := netlink.NewAttributeEncoder()
	attributes(e)
	encoded, err := e.Encode()
	if err != nil {
		return err
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: flags | netlink.Request | netlink.Acknowledge},
		Data:   append(header, encoded...),
	})
	var errno unix.Errno
	if errors.As(err, &errno) { // the rest says nothing to people
		return errno
	}
	return err
}

// MakeVCAN makes a virtual CAN interface that takes FD frames. One that is there already is fine.
func MakeVCAN(name string) error {
	err := request(unix.RTM_NEWLINK, netlink.Create|netlink.Excl, make([]byte, unix.SizeofIfInfomsg), func(e *netlink.AttributeEncoder) {
		e.String(unix.IFLA_IFNAME, name)
		e.Uint32(unix.IFLA_MTU, canfdMTU)
		e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
			e.String(unix.IFLA_INFO_KIND, "vcan")
			return nil
		})
	})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make vcan: %w", err)
	}
	return nil
}

// setAddress gives an interface its only IPv4 address. Others go first: the kernel would make a second one of the
// same network depend on the first, and take both away together.
func setAddress(link *net.Interface, ip netip.Prefix) error {
	all, err := link.Addrs()
	if err != nil {
		return err
	}
	for _, addr := range all {
		old, err := netip.ParsePrefix(addr.String())
		if err != nil || !old.Addr().Is4() || old == ip {
			continue
		}
		if err := changeAddress(unix.RTM_DELADDR, 0, link, old); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("former address: %w", err)
		}
	}
	return changeAddress(unix.RTM_NEWADDR, netlink.Create|netlink.Replace, link, ip)
}

// changeAddress adds or deletes one address.
func changeAddress(kind netlink.HeaderType, flags netlink.HeaderFlags, link *net.Interface, ip netip.Prefix) error {
	// struct ifaddrmsg (linux/if_addr.h)
	header := []byte{unix.AF_INET, byte(ip.Bits()), 0, unix.RT_SCOPE_UNIVERSE}
	header = binary.NativeEndian.AppendUint32(header, uint32(link.Index))
	return request(kind, flags, header, func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.IFA_LOCAL, ip.Addr().AsSlice())
		e.Bytes(unix.IFA_ADDRESS, ip.Addr().AsSlice())
	})
}

// setGateway makes a router the way to everywhere else.
func setGateway(index int, gateway [4]byte) error {
	// struct rtmsg (linux/rtnetlink.h)
	header := []byte{unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_DHCP, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	return request(unix.RTM_NEWROUTE, netlink.Create|netlink.Replace, header, func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.RTA_GATEWAY, gateway[:])
		e.Uint32(unix.RTA_OIF, uint32(index))
	})
}
