package j1939

import (
	"encoding/binary"
	"slices"

	"telltale.dev/protocol/can"
)

// MaxSessions is how many messages of one bus may be open at once; a sender has one to all, and one to each receiver.
// The next one takes the place of one of the sender that has most open, of that which began first. An Assembler so holds at most 120 kB, and a frame costs it
// at most one look at each of them.
const MaxSessions = 64

// Control bytes of TP.CM (SAE J1939-21, table 7).
const (
	controlRTS   = 16
	controlCTS   = 17
	controlEnd   = 19
	controlBAM   = 32
	controlAbort = 255
)

// Assembler puts the messages of one bus together. The zero Assembler is ready. It allocates only when more messages
// are open at once than ever before, and is not safe for concurrent use.
type Assembler struct {
	open   []*session // in the order in which they began
	free   []*session
	whole  Message
	counts Counts
}

// Counts says what became of the messages so far.
func (a *Assembler) Counts() Counts { return a.counts }

// Add takes the next frame of the bus, and gives the message of which it is the last part, else nil. The message is valid
// until the next call. Frames that do not belong to the transport protocol are passed over.
func (a *Assembler) Add(f *can.Frame) *Message {
	if !Carries(f.ID) || f.Flags&(can.FD|can.Remote|can.Error) != 0 {
		return nil
	}
	if f.ID&groupBits == data {
		return a.part(f)
	}
	a.manage(f)
	return nil
}

// Drop ends all messages that are open. It is to be called with FramesLost when frames of the bus are missing before
// the next one: parts of two messages could be taken for one.
func (a *Assembler) Drop(why Reason) {
	for len(a.open) > 0 {
		a.end(len(a.open)-1, why)
	}
}

// addresses gives the sender and the receiver of a frame.
func addresses(id can.ID) (source, destination uint8) { return uint8(id), uint8(id >> 8) }

// manage takes a TP.CM frame.
func (a *Assembler) manage(f *can.Frame) {
	source, destination := addresses(f.ID)
	if f.Len != can.MaxClassic {
		a.counts.Malformed++
		if i := a.find(source, destination, anyGroup); i >= 0 {
			a.end(i, Replaced) // the frame may begin another one, whose parts would follow
		}
		return
	}
	group := uint32(f.Data[5]) | uint32(f.Data[6])<<8 | uint32(f.Data[7])<<16
	switch f.Data[0] {
	case controlBAM, controlRTS:
		a.begin(f, group)
	case controlCTS:
		if i := a.find(destination, source, group); i >= 0 && destination != Global {
			a.clear(i, f)
		}
	case controlEnd:
		if i := a.find(destination, source, group); i >= 0 {
			a.end(i, MissingPart) // the receiver has parts that we have not
		}
	case controlAbort:
		if i := a.find(source, destination, group); i >= 0 {
			a.end(i, Aborted)
		}
		if i := a.find(destination, source, group); i >= 0 {
			a.end(i, Aborted)
		}
	default:
		a.counts.Malformed++
	}
}

// begin opens a message, for TP.CM BAM and RTS. Whatever the sender had open to the receiver is given up, also when
// the frame means nothing: its parts would follow.
func (a *Assembler) begin(f *can.Frame, group uint32) {
	source, destination := addresses(f.ID)
	if i := a.find(source, destination, anyGroup); i >= 0 {
		if a.open[i].late(f.Time) {
			a.end(i, Timeout)
		} else {
			a.end(i, Replaced)
		}
	}
	size, parts := int(binary.LittleEndian.Uint16(f.Data[1:])), int(f.Data[3])
	broadcast := f.Data[0] == controlBAM
	if size < MinSize || size > MaxSize || parts != (size+partSize-1)/partSize ||
		broadcast != (destination == Global) || !transportable(group) {
		a.counts.Malformed++
		return
	}
	for i := len(a.open) - 1; i >= 0; i-- {
		if a.open[i].late(f.Time) {
			a.end(i, Timeout)
		}
	}
	if len(a.open) >= MaxSessions {
		a.end(a.excess(), TooMany)
	}
	s := a.session()
	*s = session{buffer: s.buffer, source: source, destination: destination, group: group, size: size, next: 1, first: f.Time}
	if s.wait(f.Time, t3); broadcast {
		s.wait(f.Time, t1)
	}
	a.open = append(a.open, s)
}

// excess gives the position of the message that has to go when there are too many: whoever has most open pays.
func (a *Assembler) excess() (position int) {
	var open [256]uint8 // by sender
	for _, s := range a.open {
		open[s.source]++
	}
	for i, s := range a.open {
		if open[s.source] > open[a.open[position].source] {
			position = i
		}
	}
	return position
}

// transportable says whether a message may be of this parameter group.
func transportable(group uint32) bool {
	return group <= 0x3FFFF && (group&0xFF00 >= 0xF000 || group&0xFF == 0) && group != ManagementPGN && group != DataPGN
}

// anyGroup is the group of find when it does not matter; no parameter group has this number.
const anyGroup = 1 << 31

// find gives the position of an open message, −1 when there is none.
func (a *Assembler) find(source, destination uint8, group uint32) int {
	return slices.IndexFunc(a.open, func(s *session) bool {
		return s.source == source && s.destination == destination && (group == anyGroup || group == s.group)
	})
}

// clear takes a TP.CM CTS: how many parts the receiver wants, and from which on. None means that it wants to wait.
func (a *Assembler) clear(i int, f *can.Frame) {
	s, count, next := a.open[i], int(f.Data[1]), int(f.Data[2])
	switch {
	case s.late(f.Time):
		a.end(i, Timeout)
	case count == 0:
		s.wait(f.Time, t4)
		s.wanted = 0
	case next < 1 || next > s.parts():
		a.counts.Malformed++
	case next > s.have+1:
		a.end(i, MissingPart) // the receiver has parts that we have not
	default:
		s.next, s.wanted = next, count
		s.wait(f.Time, t2)
	}
}

// part takes a TP.DT frame.
func (a *Assembler) part(f *can.Frame) *Message {
	i := a.find(uint8(f.ID), uint8(f.ID>>8), anyGroup)
	if i >= 0 && a.open[i].late(f.Time) {
		a.end(i, Timeout)
		i = -1
	}
	if i < 0 {
		a.counts.Stray++
		return nil
	}
	s := a.open[i]
	if why, ok := s.add(f); !ok {
		a.end(i, why)
		return nil
	}
	if s.have < s.parts() {
		return nil
	}
	a.whole = Message{PGN: s.group, Source: s.source, Destination: s.destination, First: s.first, Last: f.Time, Data: s.buffer[:s.size]}
	a.close(i)
	a.counts.Complete++
	return &a.whole
}

// end gives an open message up.
func (a *Assembler) end(i int, why Reason) {
	a.counts.Incomplete[why]++
	a.close(i)
}

// close takes a message from the open ones.
func (a *Assembler) close(i int) {
	a.free = append(a.free, a.open[i])
	a.open = slices.Delete(a.open, i, i+1)
}

// session gives a session that nobody uses.
func (a *Assembler) session() *session {
	if n := len(a.free); n > 0 {
		s := a.free[n-1]
		a.free = a.free[:n-1]
		return s
	}
	return &session{buffer: new([MaxSize]byte)}
}
