package signal_test

import (
	"reflect"
	"testing"

	"telltale.dev/protocol/signal"
)

// part is a catalogue of one source with two messages; the second has one signal that two groups carry.
func part(kind signal.Kind, name string) *signal.Catalogue {
	s := func(message, n string) signal.Signal {
		return signal.Signal{Kind: kind, Bus: name, Message: message, Name: n}
	}
	return &signal.Catalogue{
		Sources:  []signal.Source{{Kind: kind, Name: name, Files: [][32]byte{{name[0]}}}},
		Messages: []signal.Message{{Source: 0, Name: "a", First: 0, Count: 1}, {Source: 0, Name: "b", First: 1, Count: 2}},
		Signals:  []signal.Signal{s("a", "x"), s("b", "y"), s("b", "z")},
		Groups:   []signal.Group{{Message: 0, Signals: []int32{0}}, {Message: 1, Signals: []int32{1, 2}}, {Message: 1, Short: true, Signals: []int32{1}}},
	}
}

// TestJoin: each part's groups still name the same signals.
func TestJoin(t *testing.T) {
	can, gnss := part(signal.CAN, "can0"), part(signal.GNSS, "gnss0")
	all, err := signal.Join(can, gnss)
	if err != nil {
		t.Fatal(err)
	}
	for i, in := range []*signal.Catalogue{can, gnss} {
		for g, want := range in.Groups {
			at := i*len(can.Groups) + g
			got := all.Groups[at]
			if all.MessageOf(at) != in.MessageOf(g) || all.SourceOf(at) != i || got.Short != want.Short || len(got.Signals) != len(want.Signals) {
				t.Fatalf("group %d: got %+v, want %+v", at, got, want)
			}
			for k := range want.Signals {
				if !reflect.DeepEqual(all.Signals[got.Signals[k]], in.Signals[want.Signals[k]]) {
					t.Errorf("group %d: got signal %+v, want %+v", at, all.Signals[got.Signals[k]], in.Signals[want.Signals[k]])
				}
			}
		}
	}
	for _, m := range all.Messages {
		for _, s := range all.Signals[m.First : m.First+m.Count] {
			if s.Message != m.Name || s.Bus != all.Sources[m.Source].Name {
				t.Errorf("message %+v: got signal %+v", m, s)
			}
		}
	}
	if got := all.Files(); !reflect.DeepEqual(got, [][32]byte{{'c'}, {'g'}}) {
		t.Errorf("got files %v", got)
	}
	if !reflect.DeepEqual(gnss, part(signal.GNSS, "gnss0")) {
		t.Error("a part was changed")
	}
	if _, err := signal.Join(can, gnss, part(signal.Workload, "can0")); err == nil {
		t.Error("two sources of one name are taken")
	}
}

// TestPrepare: what was read once is what would be read each time, also when it is done again for other text.
func TestPrepare(t *testing.T) {
	for _, scale := range []string{"", "0.5", "no number"} {
		s := signal.Signal{Scale: scale, Offset: "-40"}
		want := s.Physical(100)
		s.Prepare()
		if got := s.Physical(100); got != want {
			t.Errorf("%q: got %v, want %v", scale, got, want)
		}
	}
	s := signal.Signal{Scale: "2"}
	s.Prepare()
	s.Scale = "3"
	s.Prepare()
	if got := s.Physical(2); got != 6 {
		t.Errorf("got %v, want 6", got)
	}
}
