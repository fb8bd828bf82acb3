package dbc

import (
	"slices"
	"time"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/signal"
)

// File is what one DBC file says. It is not changed after Parse and may be shared.
type File struct {
	Name    string   // as given to Parse
	Hash    [32]byte // SHA-256 of the text as given to Parse
	Version string   // of the VERSION statement
	// Messages in the order of the file, without the pseudo message VECTOR__INDEPENDENT_SIG_MSG.
	Messages []*Message
	// Statements counts the statements of the file, Skipped those of them that could not be used.
	Statements, Skipped int
	lost                []lostMessage
}

// lostMessage is a message whose BO_ statement could not be used. Its frames are not decoded as another message,
// which its identifier or parameter group would stand for without it.
type lostMessage struct {
	before int    // how many of File.Messages stand before it
	number uint32 // identifier as written
}

// Message is one BO_ statement with what the rest of the file says about it.
type Message struct {
	// ID has bit 31 set for 29-bit identifiers, like the file. An identifier that fits no frame is kept
	// as written; such a message is never decoded.
	ID   can.ID
	Name string // the SystemMessageLongSymbol when there is one
	// Length is the payload in bytes. Above 64 it is a J1939 message, which only the transport protocol brings.
	Length int
	// FD: CAN FD by VFrameFormat, or by a length of 9 to 64 in a message that is not J1939.
	FD bool
	// J1939 by VFrameFormat: the identifier stands for its parameter group, from any address.
	J1939     bool
	CycleTime time.Duration // GenMsgCycleTime; 0: not cyclic or not stated
	Comment   string
	Signals   []*Signal // in the order of the file
}

// Signal is one SG_ statement with what the rest of the file says about it.
type Signal struct {
	Name    string // the SystemSignalLongSymbol when there is one; NAME@START when a message has several of one name
	Unit    string
	Comment string
	// Start and Length in bits; see the package comment. A signal of more than 64 bits, a text for
	// instance, is in the File but in no Plan.
	Start, Length     int
	BigEndian, Signed bool
	IEEE              int // 0: integer; 32 or 64: floating point number of so many bits
	// Scale and Offset are the decimal text of the file, Factor and Shift their values.
	Scale, Offset string
	Factor, Shift float64
	// Min and Max as stated, in physical units, often wrong and never enforced. Both 0: not stated.
	Min, Max float64
	Values   []Value // sorted by Raw, each Raw once
	SPN      uint32  // J1939 suspect parameter number; 0: not stated
	// Multiplexor: the value of this signal selects which others the frame holds.
	Multiplexor bool
	Mux         *Mux // nil: in each frame of the message
}

// Mux says when a multiplexed signal is in a frame.
type Mux struct {
	Selector string // name of the multiplexor signal in the same message
	// Ranges of the selector's raw value, both ends included, sorted, not touching.
	Ranges [][2]int64
}

// Value is one entry of a value table.
type Value struct {
	Raw  int64
	Text string
}

// Number says how the signal's raw values are to be read.
func (s *Signal) Number() signal.Number {
	return signal.Number{IEEE: s.IEEE, Signed: s.Signed, Factor: s.Factor, Shift: s.Shift}
}

// Physical gives the physical value, in Unit, of a raw value as Decode gives it. It never clamps.
func (s *Signal) Physical(raw int64) float64 { return s.Number().Physical(raw) }

// Text gives the entry of the value table for a raw value, and whether there is one.
func (s *Signal) Text(raw int64) (string, bool) {
	key, ok := s.Number().Key(raw)
	if !ok {
		return "", false
	}
	i, ok := slices.BinarySearchFunc(s.Values, key, compareRaw)
	if !ok {
		return "", false
	}
	return s.Values[i].Text, true
}

func compareRaw(v Value, raw int64) int {
	switch {
	case v.Raw < raw:
		return -1
	case v.Raw > raw:
		return 1
	}
	return 0
}

// bytes gives how many bytes of payload the signal needs: the number of its last byte plus one.
func (s *Signal) bytes() int {
	if s.BigEndian {
		return (networkBit(s.Start)+s.Length-1)/8 + 1
	}
	return (s.Start+s.Length-1)/8 + 1
}

// networkBit turns a sawtooth bit number into the position in reading direction,
// where bit 7 of byte 0 is 0 and bit 0 of byte 0 is 7.
func networkBit(start int) int { return start&^7 | (7 - start&7) }
