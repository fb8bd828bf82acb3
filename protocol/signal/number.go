package signal

import "math"

// Number says how a raw value stands for a physical one. It is the only place where physical values are computed and
// keys of value tables are made, whatever brings the signal: decode, the cloud's state and its lake all come here.
type Number struct {
	IEEE          int     // 32 or 64: the raw value holds the bits of a float64; 0: it is an integer
	Signed        bool    // of an integer; else an unsigned one of 64 bits is kept as two's complement
	Factor, Shift float64 // physical = number · Factor + Shift
}

// Of gives the number of a raw value, before it is scaled. An integer beyond 2⁵³ is rounded.
func (n Number) Of(raw int64) float64 {
	switch {
	case n.IEEE != 0:
		return math.Float64frombits(uint64(raw))
	case n.Signed:
		return float64(raw)
	}
	return float64(uint64(raw))
}

// Physical gives the physical value of a raw value. It never clamps, and is the same on each machine: the product
// is rounded before the sum, which the conversion demands. Without it arm64, and amd64 with GOAMD64=v3, compute both
// in one fused operation (Go specification, "Floating-point operators").
func (n Number) Physical(raw int64) float64 { return float64(n.Of(raw)*n.Factor) + n.Shift }

// Key gives what a raw value is looked up by in a value table: its number, also when it is a float. A float that is
// no integer has none.
func (n Number) Key(raw int64) (key int64, ok bool) {
	if n.IEEE == 0 {
		return raw, true
	}
	v := n.Of(raw)
	if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
		return 0, false
	}
	return int64(v), true
}

// Integer gives a raw value as a number, exactly; false when it is a float, or an unsigned integer from 2⁶³ on: see Bits.
func (n Number) Integer(raw int64) (v int64, ok bool) {
	return raw, n.IEEE == 0 && (n.Signed || raw >= 0)
}

// Bits gives the bits of a raw value, as they are on the bus: of a float of 32 bits those 32; of an integer its two's
// complement, extended to 64 bits.
func (n Number) Bits(raw int64) uint64 {
	if n.IEEE != 32 {
		return uint64(raw)
	}
	const exponent, fraction = 0x7FF << 52, 1<<52 - 1
	if bits := uint64(raw); bits&exponent == exponent && bits&fraction != 0 { // a NaN, which a conversion would make quiet
		payload := uint32(bits >> 29 & (1<<23 - 1))
		if payload == 0 { // no NaN of 32 bits is so
			payload = 1 << 22
		}
		return uint64(uint32(bits>>63)<<31 | 0xFF<<23 | payload)
	}
	return uint64(math.Float32bits(float32(math.Float64frombits(uint64(raw)))))
}

// Float32 gives the raw value of a float of 32 bits. It keeps each bit of a NaN: Bits gives them back.
func Float32(bits uint32) int64 {
	const exponent, fraction = 0xFF << 23, 1<<23 - 1
	if bits&exponent == exponent && bits&fraction != 0 {
		return int64(uint64(bits>>31)<<63 | 0x7FF<<52 | uint64(bits&fraction)<<29)
	}
	return int64(math.Float64bits(float64(math.Float32frombits(bits))))
}
