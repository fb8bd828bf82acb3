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
