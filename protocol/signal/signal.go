package signal

import (
	"strconv"

	"telltale.dev/protocol/can"
)

// Signal says what a signal's raw values mean and where they come from. Scale and Offset are decimal text exactly as in
// the file that describes the signal, so that a reader decades later inherits no rounding.
type Signal struct {
	Kind    Kind   // what brings it; the empty Kind means CAN
	Bus     string // name of its source: a bus such as can0, or what takes the place of one, such as gnss0
	Message string // name of the message, or of what takes its place, within the source
	Name    string
	Unit    string
	Signed  bool
	IEEE    int    // 32 or 64: raw values are math.Float64bits of the value; 0: integers
	Scale   string // physical = raw · Scale + Offset; empty means 1
	Offset  string // empty means 0
	Values  map[int64]string
	VSS     string // path in the Vehicle Signal Specification, if one is assigned
	CAN     *Bits  // where it is on the bus; nil for other kinds

	number Number // by Prepare
	ready  bool
}

// Bits is the place of a signal in CAN frames.
type Bits struct {
	ID    can.ID // of the message's frame, format bit included
	J1939 bool   // matched by parameter group number instead of by ID
	// Start and Length are the bits as in the DBC; BigEndian is its byte order 0.
	Start, Length int
	BigEndian     bool
}

// Number says how raw values are to be read.
func (s *Signal) Number() Number {
	if s.ready {
		return s.number
	}
	return Number{IEEE: s.IEEE, Signed: s.Signed, Factor: decimal(s.Scale, 1), Shift: decimal(s.Offset, 0)}
}

// Physical is the value in Unit. It never clamps. An unsigned 64-bit raw value is two's complement.
func (s *Signal) Physical(raw int64) float64 { return s.Number().Physical(raw) }

// Text is the name of a raw value, if its value table has one.
func (s *Signal) Text(raw int64) (string, bool) {
	if len(s.Values) == 0 {
		return "", false
	}
	key, ok := s.Number().Key(raw)
	if !ok {
		return "", false
	}
	text, ok := s.Values[key]
	return text, ok
}

// Prepare reads Scale and Offset once, so that Number need not do it for each value. Neither may change afterwards.
func (s *Signal) Prepare() {
	s.ready = false
	s.number, s.ready = s.Number(), true
}

// decimal reads decimal text; what is no number counts as fallback.
func decimal(text string, fallback float64) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fallback
	}
	return v
}
