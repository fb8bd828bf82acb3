package socketcan

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"telltale.dev/protocol/can"
)

// Descriptors gives the open files of a bus.
func Descriptors(b *Bus) []int { return []int{b.fd, b.wake} }

// SetMTU sets the longest frame of a virtual interface: 16 is classic, 72 CAN FD.
func SetMTU(name string, mtu uint32) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	return setMTU(index, mtu)
}

// Index gives the kernel's number of an interface, 0 when there is none.
func Index(name string) int {
	index, _ := indexOf(name)
	return index
}

// Push hands at most a batch of frames to the kernel, once, without waiting, and gives how many it took.
func Push(t *testing.T, b *Bus, frames []can.Frame) int {
	t.Helper()
	b.sending.Lock()
	defer b.sending.Unlock()
	n, err := b.fill(frames)
	if err != nil {
		t.Fatal(err)
	}
	done, errno := b.push(0, n)
	if errno != 0 && errno != unix.ENOBUFS && errno != unix.EAGAIN {
		t.Fatal(errno)
	}
	return done
}

// Slow makes an interface hold each frame for a time, and at most limit of
// them: the queueing discipline netem (linux/pkt_sched.h).
func Slow(name string, d time.Duration, limit uint32) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	const root, kind, options, tick = 0xFFFFFFFF, 1, 2, 64 // TC_H_ROOT, TCA_KIND, TCA_OPTIONS, ns
	native := binary.NativeEndian
	data := native.AppendUint32(nil, unix.AF_UNSPEC) // struct tcmsg
	data = native.AppendUint32(data, uint32(index))
	for _, word := range []uint32{0, root, 0} {
		data = native.AppendUint32(data, word)
	}
	var held []byte // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter
	for _, word := range []uint32{uint32(d.Nanoseconds() / tick), limit, 0, 0, 0, 0} {
		held = native.AppendUint32(held, word)
	}
	e := netlink.NewAttributeEncoder()
	e.String(kind, "netem")
	e.Bytes(options, held)
	attributes, err := e.Encode()
	if err != nil {
		return err
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_NEWQDISC, Flags: netlink.Request | netlink.Acknowledge | netlink.Create},
		Data:   append(data, attributes...),
	})
	return err
}
