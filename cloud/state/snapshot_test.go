package state_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"telltale.dev/cloud/state"
)

func TestSaveAndLoad(t *testing.T) {
	const signals = 2*state.PartSignals + 7
	s, store := state.New(), &memory{}
	s.Apply(car, schema(signals), column(0, signals, []int64{at(1)}, []int64{3}, nil), noon, false)
	s.Apply("car2", schema(1), one(at(5), 9), noon, false)
	if err := s.Save(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if got, histories := len(store.entries), 10+1; got != 3+1+histories {
		t.Errorf("got %d entries, want 3 and 1 of states, and %d of histories", got, histories)
	}
	again := state.New()
	if bad, err := again.Load(t.Context(), store); err != nil || bad != 0 {
		t.Fatalf("got %d unreadable, %v", bad, err)
	}
	if got, want := again.Values(car), s.Values(car); !reflect.DeepEqual(got, want) {
		t.Errorf("got other values than were saved: %d, want %d", len(got), len(want))
	}
	if n, newest := again.Summary("car2"); n != 1 || newest != at(5) {
		t.Errorf("got %d signals at %d, want 1 at %d", n, newest, at(5))
	}
	// The loaded signals take part in what comes.
	again.Apply(car, schema(signals), column(0, signals, []int64{at(2), at(0)}, []int64{8, 7}, nil), noon, false)
	if v := again.Values(car)[0]; v.Raw != 8 {
		t.Errorf("got raw %d, want 8", v.Raw)
	}
}

// TestPartsStay: a vehicle that was loaded is saved into the parts it came from, so
// that a crash between two of them loses nothing.
func TestPartsStay(t *testing.T) {
	const signals = 12 * state.PartSignals
	s, store := state.New(), &memory{}
	s.Apply(car, schema(signals), column(0, signals, []int64{at(1)}, []int64{3}, nil), noon, false)
	if err := s.Save(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	loaded := state.New()
	if _, err := loaded.Load(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	loaded.Apply(car, schema(1), one(at(2), 4), noon, false)
	n := 0
	store.fail = func(string) bool { n++; return n > 5 } // the power goes
	if err := loaded.Save(t.Context(), store); !errors.Is(err, errStore) {
		t.Fatalf("got %v, want %v", err, errStore)
	}
	after := state.New()
	if _, err := after.Load(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if got := len(after.Values(car)); got != signals {
		t.Errorf("got %d signals, want %d", got, signals)
	}
}

func TestSaveAgain(t *testing.T) {
	s, store := state.New(), &memory{fail: func(string) bool { return true }}
	s.Apply(car, schema(1), one(at(1), 3), noon, false)
	if err := s.Save(t.Context(), store); !errors.Is(err, errStore) {
		t.Fatalf("got %v, want %v", err, errStore)
	}
	store.fail = nil
	if err := s.Save(t.Context(), store); err != nil || len(store.entries) != 2 {
		t.Errorf("got %v and %d entries, want what was not saved before", err, len(store.entries))
	}
	store.fail = func(string) bool { return true }
	if err := s.Save(t.Context(), store); err != nil {
		t.Errorf("got %v, want nothing written when nothing changed", err)
	}
}

func TestLoadUnreadable(t *testing.T) {
	store := &memory{entries: map[string][]byte{"car1": []byte("?"), "car2/x": {}, "": {}, "car3": {0xa2, 0x61, 'v', 2, 0x66, 'v', 'a', 'l', 'u', 'e', 's', 0x80}}}
	s := state.New()
	if bad, err := s.Load(t.Context(), store); err != nil || bad != 4 {
		t.Errorf("got %d unreadable, %v, want 4", bad, err)
	}
}

// TestPartFits: the largest part stays below what a bucket takes (1 MiB).
func TestPartFits(t *testing.T) {
	wide := schema(state.PartSignals)
	for i := range wide.Signals {
		sig := &wide.Signals[i]
		sig.Message = strings.Repeat("m", state.MaxText-20)
		sig.Values = map[int64]string{1: strings.Repeat("t", state.MaxText)}
	}
	s, store := state.New(), &memory{}
	s.Apply(car, wide, column(0, len(wide.Signals), []int64{at(1)}, []int64{1}, nil), noon, false)
	if err := s.Save(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if got := len(store.entries[string(car)]); got > 1<<20 || got < 900_000 {
		t.Errorf("got a part of %d bytes, want a little less than 1 MiB", got)
	}
}
