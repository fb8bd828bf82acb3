package dbc

import (
	"encoding/binary"
	"math"
	"math/bits"

	"telltale.dev/protocol/can"
)

// op takes one signal out of a payload. It is 16 bytes, four to a cache line.
//
// The signal is in the 8 bytes from off on, read in its byte order as a 64-bit
// word. left shifts it to the top, right down to the bottom, and with sign, the
// value of its sign bit (0: unsigned), (v^sign)−sign extends it:
//
//	word      . . . . s v v v v v . . . .
//	<< left   s v v v v v . . . . . . . .
//	>> right  0 0 0 0 0 0 0 0 s v v v v v
//	^ − sign  s s s s s s s s s v v v v v
//
// A signal of more than 57 bits may reach into a ninth byte; its op is wide.
type op struct {
	sign  uint64
	off   uint8 // 0 to 56
	left  uint8
	right uint8
	flags uint8
	bits  uint8 // length, for wide ones
}

// The flags of an op.
const (
	opBig   uint8 = 1 << iota // big endian
	opWide                    // in nine bytes
	opFloat                   // IEEE 754, 32 bits; 64-bit ones need nothing done
	opSlow  = opWide | opFloat
)

const lastWord = can.MaxData - 8 // the last place to read eight bytes from

// newOp compiles a signal that ends within can.MaxData bytes.
func newOp(s *Signal) op {
	o := op{right: uint8(64 - s.Length), bits: uint8(s.Length)}
	if s.Signed && s.IEEE == 0 {
		o.sign = 1 << (s.Length - 1)
	}
	if s.IEEE == 32 {
		o.flags |= opFloat
	}
	start := s.Start
	if s.BigEndian {
		o.flags |= opBig
		start = networkBit(s.Start)
	}
	off := min(start/8, lastWord)
	shift := start - off*8 // before the signal, in the order in which it grows
	o.off = uint8(off)
	switch {
	case shift+s.Length > 64:
		o.flags |= opWide
		o.left = uint8(shift)
	case s.BigEndian:
		o.left = uint8(shift)
	default:
		o.left = uint8(64 - shift - s.Length)
	}
	return o
}

// take gives the raw value.
func (o *op) take(data *[can.MaxData]byte) int64 {
	if o.flags&opSlow != 0 {
		return o.takeSlow(data)
	}
	w := binary.LittleEndian.Uint64(data[o.off:])
	if o.flags&opBig != 0 {
		w = bits.ReverseBytes64(w)
	}
	return int64((w<<(o.left&63)>>(o.right&63) ^ o.sign) - o.sign)
}

// takeSlow is take for wide signals and 32-bit floats.
func (o *op) takeSlow(data *[can.MaxData]byte) int64 {
	var v uint64
	word := data[o.off:]
	switch {
	case o.flags&opWide == 0:
		fast := *o
		fast.flags &^= opSlow
		v = uint64(fast.take(data))
	case o.flags&opBig != 0:
		v = binary.BigEndian.Uint64(word)<<o.left | uint64(word[8])>>(8-o.left)
		v = v>>o.right ^ o.sign - o.sign
	default:
		v = binary.LittleEndian.Uint64(word)>>o.left | uint64(word[8])<<(64-o.left)
		v = v<<o.right>>o.right ^ o.sign - o.sign
	}
	if o.flags&opFloat != 0 {
		v = math.Float64bits(float64(math.Float32frombits(uint32(v))))
	}
	return int64(v)
}
