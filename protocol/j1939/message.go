package j1939

import "telltale.dev/protocol/can"

// Sizes of a message in bytes (SAE J1939-21, 5.10.1).
const (
	MinSize = 9 // what is shorter comes in one frame
	MaxSize = 1785
)

// Parameter groups of the transport protocol (SAE J1939-21, 5.10.2).
const (
	ManagementPGN = 0xEC00 // TP.CM, connection management
	DataPGN       = 0xEB00 // TP.DT, data transfer
)

// The identifiers of a parameter group of the transport protocol have these bits in common. The two bits above the 29 of
// an identifier are among them: they are zero.
const (
	groupBits  = can.Extended | 0x63FF0000
	management = can.Extended | ManagementPGN<<8
	data       = can.Extended | DataPGN<<8
)

// Global is the destination of messages to all.
const Global = 0xFF

// Carries says whether frames of an identifier belong to the transport protocol, if their bus is a J1939 one.
func Carries(id can.ID) bool { return id&groupBits == management || id&groupBits == data }

// Begins says whether a frame of the transport protocol opens a message, as TP.CM BAM or RTS.
func Begins(f *can.Frame) bool {
	return f.ID&groupBits == management && (f.Data[0] == controlBAM || f.Data[0] == controlRTS)
}

// Filters let the frames of the transport protocol through.
func Filters() []can.Filter { return []can.Filter{can.GroupFilter(management), can.GroupFilter(data)} }

// Message is a whole message.
type Message struct {
	PGN         uint32 // parameter group number
	Source      uint8  // address of the sender
	Destination uint8  // address of the receiver, or Global
	First, Last int64  // times of its first and its last frame, in µs since the Unix epoch
	Data        []byte // MinSize to MaxSize bytes
}

// ID is the identifier that a frame with this message would have, were it short enough; its priority, which the
// parts do not tell, is 0. In the PDU2 format an identifier has no destination.
func (m *Message) ID() can.ID {
	id := can.Extended | can.ID(m.PGN)<<8 | can.ID(m.Source)
	if m.PGN&0xFF00 < 0xF000 {
		id |= can.ID(m.Destination) << 8
	}
	return id
}
