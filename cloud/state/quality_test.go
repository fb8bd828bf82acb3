package state_test

import (
	"math"
	"testing"

	"telltale.dev/cloud/state"
	"telltale.dev/protocol/codec"
	"telltale.dev/protocol/signal"
)

// TestNoMeasurement: what a J1939 signal does not measure is told as such, is a hole in the
// history, and comes back after a restart; so do numbers that are none.
func TestNoMeasurement(t *testing.T) {
	j1939, double := schema(1), schema(1)
	j1939.Signals[0].CAN.J1939 = true
	double.Signals[0] = codec.Signal{Name: "s1", Message: "M", Bus: "can0", IEEE: 64, CAN: &signal.Bits{Length: 64}}
	for _, c := range []struct {
		raw     int64
		quality string
		value   float64
	}{{0xFAFF, "", 32127.5}, {0xFE00, "error", math.NaN()}, {0xFFFF, "not_available", math.NaN()}, {2, "", 1}} {
		s, store := state.New(), &memory{}
		s.Apply(car, j1939, one(at(1), 5), noon, false)
		s.Apply(car, j1939, one(at(3), c.raw), noon, false)
		infinite := one(at(2), int64(math.Float64bits(math.Inf(-1))))
		infinite.Schema[1] = 1
		s.Apply(car, double, infinite, noon, false)
		if err := s.Save(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		again := state.New()
		if unreadable, err := again.Load(t.Context(), store); err != nil || unreadable != 0 {
			t.Fatalf("got %d unreadable parts, %v", unreadable, err)
		}
		for name, states := range map[string]*state.States{"before": s, "after a restart": again} {
			all := states.Values(car)
			if len(all) != 2 {
				t.Fatalf("%s: got %d values, want 2", name, len(all))
			}
			if v := all[0]; v.Raw != c.raw || v.Quality != c.quality || !same(v.Value, c.value) {
				t.Errorf("%s, raw %#x: got %+v, want %v and %q", name, c.raw, v, c.value, c.quality)
			}
			if v := all[1].Value; !math.IsInf(v, -1) {
				t.Errorf("%s: got %v, want -Inf", name, v)
			}
		}
		points, _ := s.History(car, key(0))
		if len(points) != 2 || points[0].Value != 2.5 || !same(points[1].Value, c.value) {
			t.Errorf("raw %#x: got the history %v", c.raw, points)
		}
	}
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
