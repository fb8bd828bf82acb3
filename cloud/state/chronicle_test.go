package state_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"telltale.dev/cloud/state"
)

// TestHistoryComesBack: after each save, a restart has the histories as they were, over many saves.
func TestHistoryComesBack(t *testing.T) {
	const signals = 230
	s, store := state.New(), &memory{}
	for part := range 2*state.HistoryTurns + 3 {
		drive(s, car, signals, part*50, 50)
		if part%5 == 4 { // late points, for a gap
			s.Apply(car, schema(1), one(at(float64(-100+part)), 7), noon, false)
		}
		if err := s.Save(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		again := state.New()
		if bad, err := again.Load(t.Context(), store); err != nil || bad != 0 {
			t.Fatalf("got %d unreadable, %v", bad, err)
		}
		for _, i := range []int{0, 1, 99, 100, signals - 1} {
			got, _ := again.History(car, key(i))
			want, _ := s.History(car, key(i))
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("save %d, signal %d: got %d points, want %d", part, i, len(got), len(want))
			}
		}
	}
	if got := len(store.entries); got > 1+3+state.HistoryTurns-1 {
		t.Errorf("got %d entries, want one of the state, three of all histories, and one for each save between", got)
	}
}

// TestHistorySaves: a save writes what is new, not what is there.
func TestHistorySaves(t *testing.T) {
	s, store := state.New(), &memory{}
	drive(s, car, 100, 0, 600)
	save := func() (bytes int) {
		before := maps.Clone(store.entries)
		if err := s.Save(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		for key, data := range store.entries {
			if strings.Contains(key, "/") && !slices.Equal(before[key], data) {
				bytes += len(data)
			}
		}
		return bytes
	}
	first := save()
	drive(s, car, 100, 600, 10)
	if got := save(); got == 0 || got > 100*(10*12+10) {
		t.Errorf("got %d bytes for 10 points of 100 signals after %d at first, want 12 a point at most", got, first)
	}
	if got := save(); got != 0 {
		t.Errorf("got %d bytes when nothing was new, want none", got)
	}
}

// TestHistoryAfterFailure: what a failed save did not write, the next one does.
func TestHistoryAfterFailure(t *testing.T) {
	s, store := state.New(), &memory{}
	for part := range 40 {
		drive(s, car, 250, part*10, 10)
		if part%3 == 1 {
			n, failed := 0, false
			store.fail = func(key string) bool {
				n++
				fail := strings.Contains(key, "/") && (part%2 == 0 || n%2 == 0)
				failed = failed || fail
				return fail
			}
			if err := s.Save(t.Context(), store); errors.Is(err, errStore) != failed {
				t.Fatalf("got %v, want an error: %v", err, failed)
			}
			store.fail = nil
			continue
		}
		if err := s.Save(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		again := state.New()
		if bad, err := again.Load(t.Context(), store); err != nil || bad != 0 {
			t.Fatalf("got %d unreadable, %v", bad, err)
		}
		got, _ := again.History(car, key(0))
		if want, _ := s.History(car, key(0)); !reflect.DeepEqual(got, want) {
			t.Fatalf("save %d: got %d points, want %d", part, len(got), len(want))
		}
	}
}

// TestHistoryCrash: the power goes at any write of any save: what the last whole save had is there.
func TestHistoryCrash(t *testing.T) {
	for limit := range 60 {
		s, store, writes := state.New(), &memory{}, 0
		var whole []state.Point
		store.fail = func(string) bool { writes++; return writes > limit }
		for part := range 2*state.HistoryTurns + 2 {
			drive(s, car, 250, part*10, 10)
			if s.Save(t.Context(), store) != nil {
				break
			}
			whole, _ = s.History(car, key(249))
		}
		again := state.New()
		if bad, err := again.Load(t.Context(), store); err != nil || bad != 0 {
			t.Fatalf("got %d unreadable, %v", bad, err)
		}
		got, _ := again.History(car, key(249))
		for _, p := range whole {
			if !slices.Contains(got, p) && p.Time > at(30) { // older ones may have been thinned
				t.Fatalf("after %d writes: the point at %d is missing", limit, p.Time)
			}
		}
	}
}

// TestRemoveLeavesNothing: of a vehicle that is removed no entry is left, also when the first try met an error.
func TestRemoveLeavesNothing(t *testing.T) {
	for _, failing := range []int{-1, 0, 3, 16, 20, 21} {
		s, store := state.New(), &memory{}
		for part := range state.HistoryTurns + 3 {
			drive(s, car, 1000, part*10, 10)
			drive(s, "other", 3, part*10, 10)
			if err := s.Save(t.Context(), store); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		store.fail = func(string) bool { n++; return n-1 == failing }
		err := s.Remove(t.Context(), store, car)
		if (err != nil) != (failing >= 0) {
			t.Fatalf("failing %d: got %v", failing, err)
		}
		if failing == 16 { // and a restart between
			s = state.New()
			if _, err := s.Load(t.Context(), store); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Remove(t.Context(), store, car); err != nil {
			t.Fatal(err)
		}
		for key := range store.entries {
			if !strings.HasPrefix(key, "other") {
				t.Errorf("failing %d: got %s, want nothing of the vehicle", failing, key)
			}
		}
		if got := s.Stats(); got.Vehicles != 1 || got.Signals != 3 {
			t.Errorf("got %+v, want the other vehicle", got)
		}
	}
}

// FuzzHistories: any entry is read or refused, and no more points come than it has room for.
func FuzzHistories(f *testing.F) {
	s, store := state.New(), &memory{}
	drive(s, car, 2, 0, 3)
	if err := s.Save(f.Context(), store); err != nil {
		f.Fatal(err)
	}
	f.Add(store.entries[string(car)+"/f0"])
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, entry []byte) {
		points := 0
		_ = state.ParseHistories(entry, func(uint64, state.Point) { points++ })
		if points > len(entry)/9 {
			t.Errorf("got %d points from %d bytes", points, len(entry))
		}
		store := &memory{entries: map[string][]byte{string(car) + "/f0": entry}}
		if _, err := state.New().Load(t.Context(), store); err != nil {
			t.Error(err)
		}
	})
}
