package dbc

import (
	"encoding/binary"
	"math/bits"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/signal"
)

// op takes one signal out of a payload: shift the 64-bit word that holds it
// down, mask it, and extend its sign, where sign is the value of the sign bit or 0:
//
//	word          . . . . s v v v v v . . . .
//	>> shift      0 0 0 0 . . . . s v v v v v
//	& mask        0 0 0 0 0 0 0 0 s v v v v v
//	^ sign − sign s s s s s s s s s v v v v v
//
// The word is the eight bytes from off on, read little endian, or big endian
// when big is 1. Programs of classic frames (see form) read the word once.
// A signal that ends behind can.MaxData bytes, in a message that only the transport protocol brings, is taken from a
// copy of the window of the payload that begins at base, and off counts from there.
type op struct {
	mask, sign uint64
	shift      uint8 // 0 to 63
	big        uint8 // 0 or 1
	off        uint8 // 0 to 56
	kind       uint8
	base       uint16 // 0 where the signal ends within can.MaxData bytes
}

// The kinds of an op.
const (
	opWord  uint8 = iota // within one word
	opNine               // of more than 57 bits, reaching into a ninth byte; shift is what lies before it in the first
	opFloat              // within one word, IEEE 754 of 32 bits; those of 64 bits need nothing done
)

const lastWord = can.MaxData - 8 // the last place to read eight bytes from

// program takes all signals of a layout.
type program struct {
	ops  []op
	form form
}

// form says how uniform the ops of a program are, and so which loop runs it.
type form uint8

// The forms.
const (
	general form = iota // anything
	mixed               // all ops are opWord with off and base 0, in both byte orders
	little              // the same, all little endian
	big                 // the same, all big endian
)

// newOp compiles a signal.
func newOp(s *Signal) op {
	if s.bytes() > can.MaxData {
		moved := *s
		moved.Start %= 8
		o := newOp(&moved)
		o.base = uint16(s.Start / 8)
		return o
	}
	o := op{mask: highest(s)}
	if s.Signed && s.IEEE == 0 {
		o.sign = 1 << (s.Length - 1)
	}
	start := s.Start
	if s.BigEndian {
		o.big = 1
		start = networkBit(s.Start)
	}
	off := min(start/8, lastWord)
	before := start - off*8 // bits of the word before the signal, in the order in which it grows
	switch {
	case before+s.Length > 64:
		o.kind, o.shift = opNine, uint8(before)
	case s.BigEndian && s.bytes() <= 8:
		off, o.shift = 0, uint8(64-start-s.Length)
	case s.BigEndian:
		o.shift = uint8(64 - before - s.Length)
	case s.bytes() <= 8:
		off, o.shift = 0, uint8(start)
	default:
		o.shift = uint8(before)
	}
	o.off = uint8(off)
	if s.IEEE == 32 {
		o.kind = opFloat // never in nine bytes
	}
	return o
}

func newProgram(ops []op) program {
	orders := uint8(0) // bit 0: there is a little endian op; bit 1: a big endian one
	for i := range ops {
		if ops[i].kind != opWord || ops[i].off > 0 || ops[i].base > 0 {
			return program{ops, general}
		}
		orders |= 1 << ops[i].big
	}
	switch orders {
	case 0b01:
		return program{ops, little}
	case 0b10:
		return program{ops, big}
	}
	return program{ops, mixed}
}

// run writes the raw values to raw, which is as long as ops.
func (p *program) run(data *[can.MaxData]byte, raw []int64) {
	ops := p.ops
	raw = raw[:len(ops)]
	word := binary.LittleEndian.Uint64(data[:])
	switch p.form {
	case general:
		for i := range ops {
			raw[i] = ops[i].take(data)
		}
		return
	case mixed:
		words := [2]uint64{word, bits.ReverseBytes64(word)}
		for i := range ops {
			o := &ops[i]
			raw[i] = int64((words[o.big&1]>>(o.shift&63)&o.mask ^ o.sign) - o.sign)
		}
		return
	case big:
		word = bits.ReverseBytes64(word)
	}
	for i := range ops {
		o := &ops[i]
		raw[i] = int64((word>>(o.shift&63)&o.mask ^ o.sign) - o.sign)
	}
}

// take gives one raw value.
func (o *op) take(data *[can.MaxData]byte) int64 {
	if o.kind != opWord {
		return o.takeOther(data)
	}
	w := binary.LittleEndian.Uint64(data[o.off:])
	if o.big != 0 {
		w = bits.ReverseBytes64(w)
	}
	return int64((w>>(o.shift&63)&o.mask ^ o.sign) - o.sign)
}

// takeOther is take for signals in nine bytes and 32-bit floats.
func (o *op) takeOther(data *[can.MaxData]byte) int64 {
	word := data[o.off:]
	var v uint64
	switch {
	case o.kind == opFloat:
		plain := *o
		plain.kind = opWord
		v = uint64(plain.take(data))
	case o.big != 0:
		all := bits.OnesCount64(o.mask) + int(o.shift) // bits up to the end of the signal, 65 to 71
		v = binary.BigEndian.Uint64(word)<<(all-64) | uint64(word[8])>>(72-all)
	default:
		v = binary.LittleEndian.Uint64(word)>>o.shift | uint64(word[8])<<(64-o.shift)
	}
	v = (v&o.mask ^ o.sign) - o.sign
	if o.kind == opFloat {
		return signal.Float32(uint32(v))
	}
	return int64(v)
}

// window is how many bytes an op reads at most.
const window = 9

// runLong is run for a payload of more than can.MaxData bytes.
func (p *program) runLong(data []byte, raw []int64) {
	for i := range p.ops {
		raw[i] = p.ops[i].takeLong(data)
	}
}

// takeLong is take for a payload of any length that holds the signal.
func (o *op) takeLong(data []byte) int64 {
	var part [can.MaxData]byte
	if o.base > 0 {
		copy(part[:window], data[o.base:])
	} else {
		copy(part[:], data)
	}
	return o.take(&part)
}
