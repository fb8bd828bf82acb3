//go:build linux

package virtual

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"telltale.dev/protocol/can"
)

// canfdMTU is the size of struct canfd_frame.
const canfdMTU = 72

// encode gives the kernel's struct can_frame or canfd_frame (linux/can.h).
func encode(f *can.Frame) []byte {
	id := f.ID.Number()
	if f.ID.IsExtended() {
		id |= unix.CAN_EFF_FLAG
	}
	if f.Flags&can.Remote != 0 {
		id |= unix.CAN_RTR_FLAG
	}
	if f.Flags&can.Error != 0 {
		id |= unix.CAN_ERR_FLAG
	}
	size := unix.CAN_MTU
	var flags byte
	if f.Flags&can.FD != 0 {
		size = canfdMTU
		if f.Flags&can.BRS != 0 {
			flags |= 1 // CANFD_BRS
		}
		if f.Flags&can.ESI != 0 {
			flags |= 2 // CANFD_ESI
		}
	}
	out := make([]byte, size)
	binary.NativeEndian.PutUint32(out, id)
	out[4], out[5] = f.Len, flags
	copy(out[8:], f.Payload())
	return out
}
