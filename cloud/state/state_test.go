package state_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
)

func TestNewestBySourceTime(t *testing.T) {
	second := time.Second.Microseconds()
	for _, c := range []struct {
		name    string
		times   []int64
		raw     []int64
		present []uint64
		want    int64 // raw
		at      int64
	}{
		{"one", []int64{at(1)}, []int64{7}, nil, 7, at(1)},
		{"in order", []int64{at(1), at(2), at(3)}, []int64{7, 8, 9}, nil, 9, at(3)},
		{"not in order", []int64{at(3), at(1), at(2)}, []int64{7, 8, 9}, nil, 7, at(3)},
		{"equal times: the last row", []int64{at(1), at(1)}, []int64{7, 8}, nil, 8, at(1)},
		{"last is absent", []int64{at(1), at(2), at(3)}, []int64{7, 8, 0}, []uint64{0b011}, 8, at(2)},
		{"not in order, newest is absent", []int64{at(3), at(1), at(2)}, []int64{0, 8, 9}, []uint64{0b110}, 9, at(2)},
		{"from the future", []int64{at(1), at(2), at(25 * 3600)}, []int64{7, 8, 9}, nil, 8, at(2)},
		{"before 1970", []int64{-second, at(1)}, []int64{7, 8}, nil, 8, at(1)},
		{"extreme times", []int64{math.MinInt64, at(1), math.MaxInt64}, []int64{7, 8, 9}, nil, 8, at(1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := state.New()
			changed := s.Apply(car, schema(1), column(0, 1, c.times, c.raw, c.present), noon, true)
			if len(changed) != 1 || changed[0] != value(t, s) {
				t.Errorf("got changes %+v, want the one of the state", changed)
			}
			if v := value(t, s); v.Raw != c.want || v.Time != c.at || v.Value != float64(c.want)/2 || v.Unit != "km/h" {
				t.Errorf("got %+v, want raw %d at %d", v, c.want, c.at)
			}
		})
	}
}

func TestNothingUsable(t *testing.T) {
	s := state.New()
	s.Apply(car, schema(1), column(0, 1, []int64{at(1)}, []int64{0}, []uint64{0}), noon, true)
	s.Apply(car, schema(1), one(at(48*3600), 1), noon, true)
	if got := s.Values(car); len(got) != 0 {
		t.Errorf("got %+v, want nothing", got)
	}
	if got := s.Stats(); got.Ahead != 1 || got.Vehicles != 1 || got.Signals != 0 {
		t.Errorf("got %+v, want one row left out", got)
	}
}

func TestLateNeverOverwritesNewer(t *testing.T) {
	s := state.New()
	s.Apply(car, schema(1), one(at(10), 3), noon, false)
	if changed := s.Apply(car, schema(1), one(at(9), 4), noon, true); len(changed) != 0 {
		t.Errorf("got %+v changed by late data, want none", changed)
	}
	if v := value(t, s); v.Raw != 3 || v.Text != "three" {
		t.Errorf("got %+v, want raw 3, which is three", v)
	}
	s.Apply(car, schema(1), one(at(11), 4), noon, false)
	if v := value(t, s); v.Raw != 4 || v.Text != "" {
		t.Errorf("got %+v, want raw 4 without text", v)
	}
	if n, newest := s.Summary(car); n != 1 || newest != at(11) {
		t.Errorf("got %d signals, newest at %d, want 1 at %d", n, newest, at(11))
	}
}

// TestSeveralGroups: a signal in two groups of a batch is reported once, with its newest value.
func TestSeveralGroups(t *testing.T) {
	s := state.New()
	b := column(0, 2, []int64{at(1), at(3)}, []int64{1, 2}, nil)
	b.Rows = append(b.Rows, column(1, 1, []int64{at(2), at(4)}, []int64{5, 6}, nil).Rows...)
	changed := s.Apply(car, schema(2), b, noon, true)
	if len(changed) != 2 || value(t, s).Raw != 6 {
		t.Errorf("got %+v, want two signals, the first with raw 6", changed)
	}
	if changed := s.Apply(car, schema(2), b, noon, false); changed != nil {
		t.Errorf("got %+v, want none when nobody asks", changed)
	}
}

func TestBounds(t *testing.T) {
	s := state.New()
	long := schema(1)
	long.Signals[0].Name = strings.Repeat("x", state.MaxText)
	s.Apply(car, long, one(at(1), 1), noon, false)
	if got := s.Stats(); got.Unkept != 1 || got.Signals != 0 {
		t.Errorf("long names: got %+v, want one column left out", got)
	}
	texts := schema(1)
	texts.Signals[0].Values[4] = strings.Repeat("x", state.MaxText+1)
	s.Apply(car, texts, one(at(1), 4), noon, false)
	if v := value(t, s); v.Text != "" || v.Raw != 4 {
		t.Errorf("got %+v, want no text", v)
	}
	many := schema(state.MaxSignals + 10)
	s.Apply(car, many, column(0, len(many.Signals), []int64{at(1)}, []int64{1}, nil), noon, false)
	if got := s.Stats(); got.Signals != state.MaxSignals || got.Unkept != 1+10 {
		t.Errorf("got %+v, want %d signals and 11 columns left out", got, state.MaxSignals)
	}
}

// TestNames: the names of a vehicle's signals have a bound of their own.
func TestNames(t *testing.T) {
	s := state.New()
	long := schema(5000)
	for i := range long.Signals {
		long.Signals[i].Name = fmt.Sprint(strings.Repeat("x", 1000), i)
	}
	s.Apply(car, long, column(0, len(long.Signals), []int64{at(1)}, []int64{1}, nil), noon, false)
	if got := s.Stats(); got.Signals == 0 || got.Signals > state.MaxNames/1000 || got.Signals+int(got.Unkept) != 5000 {
		t.Errorf("got %+v, want at most %d signals", got, state.MaxNames/1000)
	}
}

func TestPresence(t *testing.T) {
	s := state.New()
	if got := s.Presence(car); len(got) != 0 {
		t.Errorf("got %+v, want nothing known", got)
	}
	for _, d := range []protocol.DeviceID{"b", "a", "b"} {
		s.SetPresence(car, state.Presence{Since: noon, Presence: protocol.Presence{Device: d, State: protocol.PresenceOnline}})
	}
	got := s.Presence(car)
	if len(got) != 2 || got[0].Device != "a" || got[1].Device != "b" || got[1].State != protocol.PresenceOnline {
		t.Errorf("got %+v, want a and b online", got)
	}
	s.RemovePresence(car, "a")
	if got := s.Presence(car); len(got) != 1 || got[0].Device != "b" {
		t.Errorf("got %+v, want b alone", got)
	}
	s.RemovePresence(car, "b")
	if got := s.Stats(); got.Vehicles != 0 {
		t.Errorf("got %d vehicles, want none of which nothing is known", got.Vehicles)
	}
	one := schema(1)
	s.SetPresence(car, state.Presence{Since: noon, Presence: protocol.Presence{Device: "a"}})
	s.Apply(car, one, column(0, 1, []int64{at(1)}, []int64{1}, nil), noon, false)
	s.RemovePresence(car, "a")
	if got := s.Stats(); got.Vehicles != 1 || got.Signals != 1 {
		t.Errorf("got %+v, want the signal kept", got)
	}
}
