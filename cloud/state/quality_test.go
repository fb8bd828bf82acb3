package state_test

import (
	"math"
	"testing"

	"telltale.dev/cloud/state"
	"telltale.dev/protocol/signal"
)

// TestNoMeasurement: what a J1939 signal does not measure is told as such, is a hole in the
// history, and comes back after a restart; so do numbers that are none.
func TestNoMeasurement(t *testing.T) {
	j1939, double := schema(1), schema(1)
	j1939.Signals[0].CAN.J1939 = true
	double.Signals[0] = signal.Signal{Name: "s1", Message: "M", Bus: "can0", IEEE: 64, CAN: &signal.Bits{Length: 64}}
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

// TestRawBits: the bits of what is no integer of 64 bits with a sign are told as such, also after a restart.
func TestRawBits(t *testing.T) {
	for name, c := range map[string]struct {
		signal signal.Signal
		raw    int64
		want   state.Value
	}{
		"unsigned, above 2^63": {signal.Signal{CAN: &signal.Bits{Length: 64}}, -1, state.Value{Raw: -1, NoInteger: true, Value: 1 << 64}},
		"unsigned, below":      {signal.Signal{CAN: &signal.Bits{Length: 64}}, 7, state.Value{Raw: 7, Value: 7}},
		"signed":               {signal.Signal{Signed: true, CAN: &signal.Bits{Length: 64}}, -1, state.Value{Raw: -1, Value: -1}},
		"float": {signal.Signal{CAN: &signal.Bits{Length: 32}, IEEE: 32}, int64(math.Float64bits(-0.5)),
			state.Value{Raw: int64(math.Float32bits(-0.5)), NoInteger: true, Value: -0.5}},
		"double of zero": {signal.Signal{CAN: &signal.Bits{Length: 64}, IEEE: 64}, 0, state.Value{NoInteger: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s, store := state.New(), &memory{}
			def := schema(1)
			c.signal.Name, c.signal.Message, c.signal.Bus, c.signal.Scale, c.signal.Offset = "s0", "M", "can0", "1", "0"
			def.Signals[0] = c.signal
			s.Apply(car, def, one(at(1), c.raw), noon, false)
			c.want.Key, c.want.Time = key(0), at(1)
			if err := s.Save(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			again := state.New()
			if _, err := again.Load(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			if got := value(t, s); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got := value(t, again); got != c.want {
				t.Errorf("after a restart: got %+v, want %+v", got, c.want)
			}
		})
	}
}
