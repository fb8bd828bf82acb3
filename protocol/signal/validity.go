package signal

// Validity says whether a raw value is a measurement or a state.
type Validity uint8

// What a value is.
const (
	Valid        Validity = iota
	NotAvailable          // its sender does not have it
	Faulty                // its sender has found an error
)

// String gives the word that the lake, the API and telltale decode have for it; empty for Valid.
func (v Validity) String() string {
	switch v {
	case NotAvailable:
		return "not_available"
	case Faulty:
		return "error"
	}
	return ""
}

// Validity says what a raw value is. Only unsigned integers of J1939 messages have values that are no measurements.
func (s *Signal) Validity(raw int64) Validity {
	if !s.HasInvalid() {
		return Valid
	}
	return J1939(s.CAN.Length, raw, s.Text)
}

// HasInvalid says whether raw values may be other than Valid.
func (s *Signal) HasInvalid() bool {
	return s.CAN != nil && s.CAN.J1939 && !s.Signed && s.IEEE == 0
}

// J1939 says what a raw value of an unsigned J1939 parameter is by the number of its bits (SAE J1939-71, 5.1.4, tables
// of transmitted signal ranges and of discrete parameters):
//
//	bits                  error          not available
//	2                     10             11
//	8, 12, 16, 20, 24, 32 FEh first      FFh first     the first eight bits count: FE00h to FEFFh, FF00h to FFFFh
//	10                    3FEh           3FFh
//	others from 3 on                     all ones      the second highest is a state of many such parameters
//
// A value that the value table names is what the table says: two bits have four states in many a parameter, such as
// torque control. text gives that name.
func J1939(bits int, raw int64, text func(raw int64) (string, bool)) Validity {
	v := byRange(bits, uint64(raw))
	if v == Valid {
		return Valid
	}
	if name, ok := text(raw); ok && !speaksOf(v, name) {
		return Valid
	}
	return v
}

func byRange(bits int, raw uint64) Validity {
	if bits < 2 || bits > 64 {
		return Valid
	}
	if raw == 1<<bits-1 {
		return NotAvailable
	}
	switch bits {
	case 2:
		if raw == 0b10 {
			return Faulty
		}
	case 10:
		if raw == 0x3FE {
			return Faulty
		}
	case 8, 12, 16, 20, 24, 32:
		switch raw >> (bits - 8) {
		case 0xFE:
			return Faulty
		case 0xFF:
			return NotAvailable
		}
	}
	return Valid
}
