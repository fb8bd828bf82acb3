package socketcan

import (
	"fmt"

	"golang.org/x/sys/unix"

	"telltale.dev/protocol/can"
)

// rawFrame is struct canfd_frame of linux/can.h; struct can_frame is its first 16 bytes.
//
//	id     bit 31: 29-bit identifier, 30: remote, 29: error frame
//	flags  bit 0: bit rate switched, 1: error passive; bit 2 (CANFD_FDF) is set by the kernel or not
type rawFrame struct {
	id     uint32
	length uint8
	flags  uint8
	_      uint8
	_      uint8 // DLC above 8 of a classic frame
	data   [can.MaxData]byte
}

const (
	sizeClassic = 16 // CAN_MTU
	sizeFD      = 72 // CANFD_MTU
	rawBRS      = 1  // CANFD_BRS
	rawESI      = 2  // CANFD_ESI
)

// frame fills f, but for its time.
func (r *rawFrame) frame(f *can.Frame, fd bool) {
	*f = can.Frame{}
	if r.id&unix.CAN_EFF_FLAG != 0 {
		f.ID = can.ID(r.id&unix.CAN_EFF_MASK) | can.Extended
	} else {
		f.ID = can.ID(r.id & unix.CAN_SFF_MASK)
	}
	most := uint8(can.MaxClassic)
	if fd {
		most = can.MaxData
		f.Flags = can.FD
		if r.flags&rawBRS != 0 {
			f.Flags |= can.BRS
		}
		if r.flags&rawESI != 0 {
			f.Flags |= can.ESI
		}
	}
	f.Len = min(r.length, most)
	if r.id&unix.CAN_RTR_FLAG != 0 && !fd {
		f.Flags = can.Remote
		return
	}
	copy(f.Data[:f.Len], r.data[:f.Len])
}

// set makes r the frame f and gives its size in bytes. The error says why no bus could carry f.
func (r *rawFrame) set(f *can.Frame) (size int, err error) {
	number, most := can.StandardMask, uint8(can.MaxClassic)
	*r = rawFrame{id: uint32(f.ID), length: f.Len}
	if f.ID.IsExtended() {
		number = can.ExtendedMask
	}
	size = sizeClassic
	switch {
	case f.Flags&can.Error != 0:
		// Error frames come from the controller. The kernel takes them on a virtual interface, for tests.
		number, r.id = can.ExtendedMask, r.id|unix.CAN_ERR_FLAG
	case f.Flags&can.FD != 0:
		size, most = sizeFD, can.MaxData
		if f.Flags&can.BRS != 0 {
			r.flags |= rawBRS
		}
		if f.Flags&can.ESI != 0 {
			r.flags |= rawESI
		}
	case f.Flags&can.Remote != 0:
		r.id |= unix.CAN_RTR_FLAG
	}
	switch {
	case f.ID.Number() > uint32(number):
		return 0, fmt.Errorf("a frame has identifier %X, at most %X is possible", f.ID.Number(), uint32(number))
	case f.Len > most || f.Flags&can.FD != 0 && !can.ValidLength(int(f.Len)):
		return 0, fmt.Errorf("a frame has %d bytes, which no frame of its kind can have", f.Len)
	}
	copy(r.data[:], f.Payload())
	return size, nil
}
