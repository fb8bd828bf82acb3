//go:build linux

package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

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

// attribute is a netlink attribute (struct nlattr), filled up to 4 bytes.
func attribute(kind uint16, value []byte) []byte {
	out := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	out = binary.NativeEndian.AppendUint16(out, kind)
	out = append(out, value...)
	return append(out, make([]byte, -len(out)&3)...)
}

// message is a netlink request that wants an acknowledgement.
func message(kind, flags uint16, body []byte) []byte {
	out := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	out = binary.NativeEndian.AppendUint16(out, kind)
	out = binary.NativeEndian.AppendUint16(out, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	return append(append(out, make([]byte, 8)...), body...)
}

// netlink sends a request to the kernel's routing family and reads the acknowledgement.
func netlink(request []byte) error {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := unix.Sendto(s, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("netlink: expected an acknowledgement")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// MakeVCAN makes a virtual CAN interface that takes FD frames. One that is there already is fine.
func MakeVCAN(name string) error {
	info := attribute(unix.IFLA_INFO_KIND, []byte("vcan"))
	body := make([]byte, unsafe.Sizeof(unix.IfInfomsg{}))
	body = append(body, attribute(unix.IFLA_IFNAME, append([]byte(name), 0))...)
	body = append(body, attribute(unix.IFLA_MTU, binary.NativeEndian.AppendUint32(nil, canfdMTU))...)
	body = append(body, attribute(unix.IFLA_LINKINFO, info)...)
	err := netlink(message(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body))
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
	return changeAddress(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, link, ip)
}

// changeAddress adds or deletes one address.
func changeAddress(kind, flags uint16, link *net.Interface, ip netip.Prefix) error {
	four := ip.Addr().As4()
	body := []byte{unix.AF_INET, byte(ip.Bits()), 0, unix.RT_SCOPE_UNIVERSE}
	body = binary.NativeEndian.AppendUint32(body, uint32(link.Index))
	body = append(body, attribute(unix.IFA_LOCAL, four[:])...)
	body = append(body, attribute(unix.IFA_ADDRESS, four[:])...)
	return netlink(message(kind, flags, body))
}

// setGateway makes a router the way to everywhere else.
func setGateway(index int, gateway [4]byte) error {
	body := []byte{unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_DHCP, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	body = append(body, attribute(unix.RTA_GATEWAY, gateway[:])...)
	body = append(body, attribute(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))...)
	return netlink(message(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body))
}
