package codec_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
	"telltale.dev/protocol/document"
)

func TestPhysical(t *testing.T) {
	tests := []struct {
		name   string
		signal codec.Signal
		raw    int64
		want   float64
	}{
		{"scaled", codec.Signal{Scale: "0.5", Offset: "-40"}, 100, 10},
		{"nothing said", codec.Signal{}, 7, 7},
		{"negative", codec.Signal{Signed: true, Scale: "2", Offset: "0"}, -3, -6},
		{"unsigned 64 bits", codec.Signal{Scale: "1", Offset: "0"}, -1, 1 << 64},
		{"signed 64 bits", codec.Signal{Signed: true, Scale: "1", Offset: "0"}, -1, -1},
		{"two roundings", codec.Signal{Scale: "0.244", Offset: "-125"}, 510, -0.5600000000000023},
		{"double", codec.Signal{IEEE: 64, Scale: "10", Offset: "1"}, int64(math.Float64bits(0.25)), 3.5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.signal.Physical(test.raw); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestTextOfFloat: a value table is looked up by the number, also that of a float.
func TestTextOfFloat(t *testing.T) {
	s := codec.Signal{IEEE: 32, Values: map[int64]string{-1: "none", 0: "off", 1: "on"}}
	for number, want := range map[float64]string{0: "off", 1: "on", -1: "none", 1.5: "", 2: "", math.Inf(1): ""} {
		if got, ok := s.Text(int64(math.Float64bits(number))); got != want || ok != (want != "") {
			t.Errorf("%v: got %q %v, want %q", number, got, ok, want)
		}
	}
	if got, ok := s.Text(int64(math.Float64bits(math.NaN()))); ok {
		t.Errorf("NaN: got %q", got)
	}
}

// TestPhysicalEqualsDBC: the schema's signals mean the same as the DBC file's.
func TestPhysicalEqualsDBC(t *testing.T) {
	for _, name := range names {
		r := load(t, name)
		s, _ := r.schema(t, protocol.ModeAll)
		s, _ = known(t, s)
		infos := r.plan.Signals()
		for _, row := range r.rows[:2000] {
			signals := r.plan.Layouts()[r.layouts[row.group]].Signals
			for c, m := range s.Groups[row.group] {
				info, raw := infos[signals[c]], row.raw[c]
				if got, want := s.Signals[m].Physical(raw), info.Physical(raw); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
					t.Fatalf("%s %s: got %v for raw %d, want %v", name, info.Name, got, raw, want)
				}
				got, _ := s.Signals[m].Text(raw)
				if want, _ := info.Text(raw); got != want {
					t.Fatalf("%s %s: got %q for raw %d, want %q", name, info.Name, got, raw, want)
				}
			}
		}
	}
}

func TestSchemaOfSelected(t *testing.T) {
	r := load(t, "rav4")
	infos, layouts := r.plan.Signals(), r.plan.Layouts()
	odd := func(signal int) bool { return signal%2 == 1 }
	s, positions := codec.SchemaOf(r.plan.Catalogue(), "odd", "all", protocol.ModeAll, r.layouts, odd)
	if len(s.Groups) != len(positions) || len(s.Groups) == 0 {
		t.Fatalf("got %d groups and %d rows of positions", len(s.Groups), len(positions))
	}
	g := 0
	for _, l := range r.layouts {
		var want []string
		for _, signal := range layouts[l].Signals {
			if odd(int(signal)) {
				want = append(want, infos[signal].Name)
			}
		}
		if want == nil {
			continue
		}
		var got []string
		for i, m := range s.Groups[g] {
			got = append(got, s.Signals[m].Name)
			if name := infos[layouts[l].Signals[positions[g][i]]].Name; name != s.Signals[m].Name {
				t.Errorf("got position of %s for %s", name, s.Signals[m].Name)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("group %d: got %v, want %v", g, got, want)
		}
		g++
	}
	if g != len(s.Groups) {
		t.Errorf("got %d groups, want %d", len(s.Groups), g)
	}
}

func TestSchemaRoundTrip(t *testing.T) {
	for _, name := range names {
		s, _ := load(t, name).schema(t, protocol.ModeOnChange)
		doc, hash, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := codec.ParseSchema(doc)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Errorf("%s: got another schema than was written", name)
		}
		again, second, err := got.Encode()
		if err != nil || second != hash || !bytes.Equal(again, doc) {
			t.Errorf("%s: got hash %v, %v; want %v", name, second, err, hash)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*codec.Schema)
		place  string
		want   error
	}{
		{"another version", func(s *codec.Schema) { s.Version = 3 }, "v is 3", codec.ErrVersion},
		{"a bad campaign", func(s *codec.Schema) { s.Campaign = "a/b" }, "campaign", document.ErrMalformed},
		{"no tick", func(s *codec.Schema) { s.Tick = 0 }, "tick", document.ErrMalformed},
		{"a long tick", func(s *codec.Schema) { s.Tick = 1 << 40 }, "tick", document.ErrMalformed},
		{"an unknown mode", func(s *codec.Schema) { s.Mode = "some" }, "mode", document.ErrMalformed},
		{"a member beyond the signals", func(s *codec.Schema) { s.Groups[1][0] = 3 }, "groups[1]", document.ErrMalformed},
		{"a member twice", func(s *codec.Schema) { s.Groups[0][1] = 0 }, "groups[0]", document.ErrMalformed},
		{"an empty group", func(s *codec.Schema) { s.Groups[0] = nil }, "groups[0]", document.ErrMalformed},
		{"too many groups", func(s *codec.Schema) { s.Groups = make([][]uint32, codec.MaxGroups+1) }, "groups", document.ErrLimit},
		{"no name", func(s *codec.Schema) { s.Signals[1].Name = "" }, "signals[1].n", document.ErrMalformed},
		{"a long name", func(s *codec.Schema) { s.Signals[1].Name = strings.Repeat("n", 600) }, "signals[1].n", document.ErrLimit},
		{"no UTF-8", func(s *codec.Schema) { s.Signals[1].Unit = "\xB0C" }, "signals[1].u", document.ErrMalformed},
		{"65 bits", func(s *codec.Schema) { s.Signals[1].CAN.Length = 65 }, "signals[1].len", document.ErrMalformed},
		{"a half float", func(s *codec.Schema) { s.Signals[1].IEEE = 16 }, "signals[1].ieee", document.ErrMalformed},
		{"scale in words", func(s *codec.Schema) { s.Signals[1].Scale = "one" }, "signals[1].scale", document.ErrMalformed},
		{"endless offset", func(s *codec.Schema) { s.Signals[1].Offset = "Inf" }, "signals[1].offset", document.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := schemaOf(protocol.ModeAll, 2, 1)
			test.change(s)
			if _, _, err := s.Encode(); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.place) {
				t.Errorf("got error %v, want %v at %s", err, test.want, test.place)
			}
		})
	}
}

// TestSchemaIsCanonical: a document that says the same in other bytes would have another hash.
func TestSchemaIsCanonical(t *testing.T) {
	doc, _, err := schemaOf(protocol.ModeAll, 1).Encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string][]byte{
		"a long number": bytes.Replace(doc, []byte("\x61v\x01"), []byte("\x61v\x18\x01"), 1),
		"a default":     bytes.Replace(doc, []byte("\x64mode\x63all"), []byte("\x64mode\x63all\x63foo\x00"), 1),
		"another order": bytes.Replace(bytes.Replace(doc, []byte("\x61v\x01"), nil, 1), []byte("\x64mode"), []byte("\x61v\x01\x64mode"), 1),
		"more":          append(bytes.Clone(doc), 0),
	}
	for name, changed := range tests {
		if bytes.Equal(changed, doc) {
			t.Errorf("%s: the document was not changed", name)
		}
		if _, err := codec.ParseSchema(changed); !errors.Is(err, document.ErrMalformed) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
