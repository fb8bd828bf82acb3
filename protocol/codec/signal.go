package codec

import (
	"strconv"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// Signal says what a column's raw values mean, and where on the bus they came
// from. Scale and Offset are decimal text exactly as in the DBC file, so that a
// reader decades later inherits no rounding.
type Signal struct {
	Name    string
	Unit    string
	Message string
	Bus     string
	ID      can.ID // of the message's frame, format bit included
	J1939   bool   // matched by parameter group number instead of by ID
	// Start and Length are the bits as in the DBC; BigEndian is its byte order 0.
	Start, Length int
	BigEndian     bool
	Signed        bool
	IEEE          int    // 32 or 64: raw values are math.Float64bits of the value; 0: integers
	Scale, Offset string // physical = raw · Scale + Offset; empty means 1 and 0
	Values        map[int64]string
	VSS           string // path in the Vehicle Signal Specification, if one is assigned

	number dbc.Number // by prepare
	ready  bool
}

// Number says how raw values are to be read.
func (s *Signal) Number() dbc.Number {
	if s.ready {
		return s.number
	}
	return dbc.Number{IEEE: s.IEEE, Signed: s.Signed, Factor: decimal(s.Scale, 1), Shift: decimal(s.Offset, 0)}
}

// Physical is the value in Unit. It never clamps. An unsigned 64-bit raw value is two's complement.
func (s *Signal) Physical(raw int64) float64 { return s.Number().Physical(raw) }

// Text is the name of a raw value, if the DBC gives it one.
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

// prepare parses the decimals once, for Number.
func (s *Signal) prepare() {
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
