// Package can holds CAN and CAN FD frames, filters of their identifiers and their candump text form.
//
// It reads no bus; drivers are in hal/canbus.
package can

import "time"

// MaxData is the longest payload of a CAN FD frame in bytes; MaxClassic that of a classic frame.
const (
	MaxData    = 64
	MaxClassic = 8
)

// ID is a frame identifier as Linux and DBC files write it: bit 31 marks the
// 29-bit extended format (ISO 11898-1, clause 10.4.2).
type ID uint32

// Extended marks a 29-bit identifier. StandardMask and ExtendedMask are the identifier bits.
const (
	Extended     ID = 1 << 31
	StandardMask ID = 1<<11 - 1
	ExtendedMask ID = 1<<29 - 1
)

// IsExtended says whether the identifier has 29 bits.
func (id ID) IsExtended() bool { return id&Extended != 0 }

// Number gives the identifier without its format bit.
func (id ID) Number() uint32 { return uint32(id &^ Extended) }

// PGN gives the J1939 parameter group number of an extended identifier
// (SAE J1939-21, 5.2): the PDU1 format leaves out the destination address.
func (id ID) PGN() uint32 {
	pgn := uint32(id>>8) & 0x3FFFF
	if pgn&0xFF00 < 0xF000 {
		pgn &^= 0xFF
	}
	return pgn
}

// Flags say what kind of frame it is. Zero is a classic data frame.
type Flags uint8

// The flags.
const (
	FD     Flags = 1 << iota // CAN FD format
	BRS                      // FD: bit rate switched
	ESI                      // FD: transmitter error passive
	Remote                   // classic remote frame, no data
	Error                    // error frame of the controller, not from the bus
)

// Frame is one frame as received. It is a plain value; the zero Frame is an
// empty classic frame with identifier 0.
type Frame struct {
	// Time is when the frame was received, in µs since the Unix epoch.
	Time  int64
	ID    ID
	Flags Flags
	// Len is the number of bytes of Data in use, 0 to 64. For a remote frame it is the requested length.
	Len  uint8
	Data [MaxData]byte
}

// Payload gives the bytes in use. It shares f's memory.
func (f *Frame) Payload() []byte {
	if f.Flags&Remote != 0 {
		return nil
	}
	return f.Data[:min(int(f.Len), MaxData)]
}

// At gives Time as a time.Time in UTC.
func (f *Frame) At() time.Time { return time.UnixMicro(f.Time).UTC() }
