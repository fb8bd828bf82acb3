package socketcan

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
)

// stateNames are those of enum can_state (linux/can/netlink.h), as ip -details link prints them.
var stateNames = [...]string{"error-active", "error-warning", "error-passive", "bus-off", "stopped", "sleeping"}

// kindController is a hardware interface; vcan and vxcan have neither bit rate nor state.
const kindController = "can"

// readLink asks the kernel for the state of an interface. It needs no capability.
func readLink(index int) (canbus.Link, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return canbus.Link{}, fmt.Errorf("netlink: %w", err)
	}
	defer conn.Close()
	answer, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request},
		Data:   ifInfo(unix.IfInfomsg{Index: int32(index)}),
	})
	if err != nil {
		return canbus.Link{}, fmt.Errorf("netlink: %w", reason(err))
	}
	if len(answer) == 0 {
		return canbus.Link{}, errors.New("netlink: no answer")
	}
	return parseLink(answer[0].Data)
}

// parseLink reads an RTM_NEWLINK message.
func parseLink(data []byte) (l canbus.Link, err error) {
	if len(data) < unix.SizeofIfInfomsg {
		return l, errors.New("netlink: a short message")
	}
	l.Index = int(int32(binary.NativeEndian.Uint32(data[4:])))
	l.Up = binary.NativeEndian.Uint32(data[8:])&unix.IFF_UP != 0
	attributes, err := netlink.NewAttributeDecoder(data[unix.SizeofIfInfomsg:])
	if err != nil {
		return l, fmt.Errorf("netlink: %w", err)
	}
	for attributes.Next() {
		switch attributes.Type() {
		case unix.IFLA_IFNAME:
			l.Interface = attributes.String()
		case unix.IFLA_MTU:
			l.FD = attributes.Uint32() >= sizeFD
		case unix.IFLA_TXQLEN:
			l.Queue = int(attributes.Uint32())
		case unix.IFLA_STATS64:
			parseStats(&l, attributes.Bytes())
		case unix.IFLA_LINKINFO:
			attributes.Nested(func(d *netlink.AttributeDecoder) error { return parseInfo(&l, d) })
		}
	}
	if err := attributes.Err(); err != nil {
		return l, fmt.Errorf("netlink: %w", err)
	}
	return l, nil
}

// parseStats reads struct rtnl_link_stats64 (linux/if_link.h), by position of its words.
func parseStats(l *canbus.Link, data []byte) {
	const received, errorsIn, droppedIn, overIn, fifoIn, missedIn = 0, 4, 6, 11, 14, 15
	word := func(i int) uint64 {
		if len(data) < 8*(i+1) {
			return 0
		}
		return binary.NativeEndian.Uint64(data[8*i:])
	}
	l.Received = word(received)
	// over and fifo are parts of errors where drivers count both; the largest is not counted twice.
	l.Lost = word(droppedIn) + word(missedIn) + max(word(errorsIn), word(overIn), word(fifoIn))
}

func parseInfo(l *canbus.Link, d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch d.Type() {
		case unix.IFLA_INFO_KIND:
			l.Kind = d.String()
		case unix.IFLA_INFO_DATA:
			d.Nested(func(d *netlink.AttributeDecoder) error { return parseController(l, d) })
		}
	}
	return nil
}

// parseController reads what the controller's driver says.
func parseController(l *canbus.Link, d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch d.Type() {
		case unix.IFLA_CAN_STATE:
			if s := d.Uint32(); int(s) < len(stateNames) {
				l.State = stateNames[s]
			}
		case unix.IFLA_CAN_BITTIMING:
			l.BitrateHz = firstWord(d.Bytes())
		case unix.IFLA_CAN_DATA_BITTIMING:
			l.DataBitrateHz = firstWord(d.Bytes())
		case unix.IFLA_CAN_CTRLMODE: // struct can_ctrlmode: mask, flags
			if b := d.Bytes(); len(b) >= 8 {
				l.ListenOnly = binary.NativeEndian.Uint32(b[4:])&unix.CAN_CTRLMODE_LISTENONLY != 0
			}
		case unix.IFLA_CAN_RESTART_MS:
			l.RestartMS = d.Uint32()
		case unix.IFLA_CAN_BERR_COUNTER: // struct can_berr_counter: txerr, rxerr
			if b := d.Bytes(); len(b) >= 4 {
				l.TxErrors, l.RxErrors = binary.NativeEndian.Uint16(b), binary.NativeEndian.Uint16(b[2:])
			}
		}
	}
	return nil
}

// firstWord reads the bit rate of struct can_bittiming.
func firstWord(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// ifInfo encodes struct ifinfomsg (linux/rtnetlink.h).
func ifInfo(m unix.IfInfomsg) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = m.Family
	binary.NativeEndian.PutUint16(b[2:], m.Type)
	binary.NativeEndian.PutUint32(b[4:], uint32(m.Index))
	binary.NativeEndian.PutUint32(b[8:], m.Flags)
	binary.NativeEndian.PutUint32(b[12:], m.Change)
	return b
}

// reason takes the operation out of an error of netlink, which says nothing to people.
func reason(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
