package signal_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"telltale.dev/protocol/signal"
)

// TestBits: what is on the bus comes back from the raw value, bit by bit.
func TestBits(t *testing.T) {
	floats := []uint32{
		0, 1 << 31, 1, 1<<31 | 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, // zeros, denormals, largest, infinities
		0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFBFFFFF, 0x7FFFFFFF, // NaNs, quiet and signalling
		math.Float32bits(12.5),
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		floats = append(floats, random.Uint32())
	}
	single := signal.Number{IEEE: 32, Factor: 1}
	for _, bits := range floats {
		raw := signal.Float32(bits)
		if got := single.Bits(raw); got != uint64(bits) {
			t.Errorf("float %#x: got %#x", bits, got)
		}
		v, want := single.Of(raw), float64(math.Float32frombits(bits))
		if v != want && !(math.IsNaN(v) && math.IsNaN(want)) {
			t.Errorf("float %#x: got the value %v, want %v", bits, v, want)
		}
		if _, ok := single.Integer(raw); ok {
			t.Errorf("float %#x is taken for an integer", bits)
		}
	}
	strange := int64(math.Float64bits(math.NaN()) &^ (1 << 51)) // a NaN that no float of 32 bits is
	if got := math.Float32frombits(uint32(single.Bits(strange))); !math.IsNaN(float64(got)) {
		t.Errorf("got %v, want NaN", got)
	}
	double := signal.Number{IEEE: 64, Factor: 1}
	for _, v := range []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64} {
		if got := double.Bits(int64(math.Float64bits(v))); got != math.Float64bits(v) {
			t.Errorf("double %v: got %#x", v, got)
		}
	}
	for _, raw := range []uint64{0, 1, 1<<63 - 1, 1 << 63, math.MaxUint64} {
		unsigned := signal.Number{Factor: 1}
		v, ok := unsigned.Integer(int64(raw))
		if ok != (raw < 1<<63) || ok && uint64(v) != raw || unsigned.Bits(int64(raw)) != raw {
			t.Errorf("unsigned %d: got %d, %v and %d", raw, v, ok, unsigned.Bits(int64(raw)))
		}
	}
	if v, ok := (signal.Number{Signed: true, Factor: 1}).Integer(math.MinInt64); !ok || v != math.MinInt64 {
		t.Errorf("signed: got %d, %v", v, ok)
	}
}
