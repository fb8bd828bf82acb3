package state_test

import (
	"fmt"
	"testing"
	"time"

	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
)

// drive applies seconds of signals at one row a second.
func drive(s *state.States, vid protocol.VehicleID, signals, from, seconds int) {
	var times, raw []int64
	for i := range seconds {
		times, raw = append(times, at(float64(from+i))), append(raw, int64(from+i))
	}
	s.Apply(vid, schema(signals), column(0, signals, times, raw, nil), noon.Add(time.Hour), false)
}

// charted counts the signals of a vehicle that have a history, and their points.
func charted(s *state.States, vid protocol.VehicleID, signals int) (histories, points int) {
	for i := range signals {
		if list, _ := s.History(vid, key(i)); len(list) > 0 {
			histories++
			points += len(list)
		}
	}
	return histories, points
}

// TestVehicleBound: who invents signals pays with the resolution of its own histories, and
// each signal still has one that reaches back as far.
func TestVehicleBound(t *testing.T) {
	s := state.New()
	drive(s, car, 300, 0, 300)
	want, points := charted(s, car, 300)
	if want != 300 || points != 300*300 {
		t.Fatalf("got %d histories with %d points, want 300 with 90,000", want, points)
	}
	for minute := range 10 {
		drive(s, "greedy", state.MaxSignals, minute*60, 60)
	}
	if n, p := charted(s, car, 300); n != want || p != points {
		t.Errorf("beside a greedy vehicle: got %d histories with %d points, want %d with %d", n, p, want, points)
	}
	n, p := charted(s, "greedy", state.MaxSignals)
	if n != state.MaxSignals || p*16 > state.MaxHistory || p < n {
		t.Errorf("got %d histories with %d points, want one of each signal in %d bytes", n, p, state.MaxHistory)
	}
	list, _ := s.History("greedy", key(0))
	if span := list[len(list)-1].Time - list[0].Time; len(list) < 3 || span < (4*time.Minute).Microseconds() {
		t.Errorf("got %d points over %d µs, want some over 5 minutes", len(list), span)
	}
}

// TestFairHistories: when all together have too much, those with the most are coarsened, and nobody else.
func TestFairHistories(t *testing.T) {
	s := state.New()
	const all, vehicles = 1 << 20, 20
	s.SetBounds(state.MaxHistory, all)
	for part := range 10 {
		for i := range vehicles {
			signals := 2
			if i < 4 {
				signals = 400
			}
			drive(s, protocol.VehicleID(fmt.Sprint("v", i)), signals, part*30, 30)
		}
	}
	if got := s.Stats().HistoryBytes; got > all || got < all/4 {
		t.Errorf("got %d bytes, want at most %d and no less than a quarter", got, all)
	}
	for i := range vehicles {
		vid := protocol.VehicleID(fmt.Sprint("v", i))
		if i >= 4 {
			if n, p := charted(s, vid, 2); n != 2 || p != 600 {
				t.Errorf("vehicle %d of few signals: got %d histories with %d points, want 2 with 600", i, n, p)
			}
		} else if n, p := charted(s, vid, 400); n != 400 || p*16 < all/vehicles/4 {
			t.Errorf("vehicle %d of many signals: got %d histories with %d points, want 400 within half of its share at least", i, n, p)
		}
	}
	for i := range 4 {
		if err := s.Remove(t.Context(), &memory{}, protocol.VehicleID(fmt.Sprint("v", i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Stats().HistoryBytes; got < 16*2*300*16 || got > 16*2*512*16 {
		t.Errorf("got %d bytes after the others were removed, want those of 32 histories", got)
	}
}

// TestTenThousandVehicles: nobody is without histories in a large fleet.
func TestTenThousandVehicles(t *testing.T) {
	s := state.New()
	const all, vehicles = 100 << 20, 10_000 // a fifth of what the program has
	s.SetBounds(state.MaxHistory, all)
	for part := range 4 {
		for i := range vehicles {
			drive(s, protocol.VehicleID(fmt.Sprint("v", i)), 5, part*40, 40)
		}
	}
	if got := s.Stats().HistoryBytes; got > all {
		t.Errorf("got %d bytes, want at most %d", got, all)
	}
	for i := range vehicles {
		if n, p := charted(s, protocol.VehicleID(fmt.Sprint("v", i)), 5); n != 5 || p < 5*40 {
			t.Fatalf("vehicle %d: got %d histories with %d points, want 5 with 40 at least", i, n, p)
		}
	}
}
