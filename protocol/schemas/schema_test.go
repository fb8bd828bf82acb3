package schemas_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

func TestPhysical(t *testing.T) {
	tests := []struct {
		name   string
		signal signal.Signal
		raw    int64
		want   float64
	}{
		{"scaled", signal.Signal{Scale: "0.5", Offset: "-40"}, 100, 10},
		{"nothing said", signal.Signal{}, 7, 7},
		{"negative", signal.Signal{Signed: true, Scale: "2", Offset: "0"}, -3, -6},
		{"unsigned 64 bits", signal.Signal{Scale: "1", Offset: "0"}, -1, 1 << 64},
		{"signed 64 bits", signal.Signal{Signed: true, Scale: "1", Offset: "0"}, -1, -1},
		{"two roundings", signal.Signal{Scale: "0.244", Offset: "-125"}, 510, -0.5600000000000023},
		{"double", signal.Signal{IEEE: 64, Scale: "10", Offset: "1"}, int64(math.Float64bits(0.25)), 3.5},
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
	s := signal.Signal{IEEE: 32, Values: map[int64]string{-1: "none", 0: "off", 1: "on"}}
	for number, want := range map[float64]string{0: "off", 1: "on", -1: "none", 1.5: "", 2: "", math.Inf(1): ""} {
		if got, ok := s.Text(int64(math.Float64bits(number))); got != want || ok != (want != "") {
			t.Errorf("%v: got %q %v, want %q", number, got, ok, want)
		}
	}
	if got, ok := s.Text(int64(math.Float64bits(math.NaN()))); ok {
		t.Errorf("NaN: got %q", got)
	}
}

func TestSchemaRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*schemas.Schema)
		place  string
		want   error
	}{
		{"another version", func(s *schemas.Schema) { s.Version = 3 }, "v is 3", document.ErrVersion},
		{"a bad campaign", func(s *schemas.Schema) { s.Campaign = "a/b" }, "campaign", document.ErrMalformed},
		{"no tick", func(s *schemas.Schema) { s.Tick = 0 }, "tick", document.ErrMalformed},
		{"a long tick", func(s *schemas.Schema) { s.Tick = 1 << 40 }, "tick", document.ErrMalformed},
		{"an unknown mode", func(s *schemas.Schema) { s.Mode = "some" }, "mode", document.ErrMalformed},
		{"a member beyond the signals", func(s *schemas.Schema) { s.Groups[1][0] = 3 }, "groups[1]", document.ErrMalformed},
		{"a member twice", func(s *schemas.Schema) { s.Groups[0][1] = 0 }, "groups[0]", document.ErrMalformed},
		{"an empty group", func(s *schemas.Schema) { s.Groups[0] = nil }, "groups[0]", document.ErrMalformed},
		{"too many groups", func(s *schemas.Schema) { s.Groups = make([][]uint32, schemas.MaxGroups+1) }, "groups", document.ErrLimit},
		{"no name", func(s *schemas.Schema) { s.Signals[1].Name = "" }, "signals[1].n", document.ErrMalformed},
		{"a long name", func(s *schemas.Schema) { s.Signals[1].Name = strings.Repeat("n", 600) }, "signals[1].n", document.ErrLimit},
		{"no UTF-8", func(s *schemas.Schema) { s.Signals[1].Unit = "\xB0C" }, "signals[1].u", document.ErrMalformed},
		{"65 bits", func(s *schemas.Schema) { s.Signals[1].CAN.Length = 65 }, "signals[1].len", document.ErrMalformed},
		{"a half float", func(s *schemas.Schema) { s.Signals[1].IEEE = 16 }, "signals[1].ieee", document.ErrMalformed},
		{"scale in words", func(s *schemas.Schema) { s.Signals[1].Scale = "one" }, "signals[1].scale", document.ErrMalformed},
		{"endless offset", func(s *schemas.Schema) { s.Signals[1].Offset = "Inf" }, "signals[1].offset", document.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := batchestest.SchemaOf(protocol.ModeAll, 2, 1)
			test.change(s)
			if _, _, err := s.Encode(); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.place) {
				t.Errorf("got error %v, want %v at %s", err, test.want, test.place)
			}
		})
	}
}

// TestSchemaIsCanonical: a document that says the same in other bytes would have another hash.
func TestSchemaIsCanonical(t *testing.T) {
	doc, _, err := batchestest.SchemaOf(protocol.ModeAll, 1).Encode()
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
		if _, err := schemas.Parse(changed); !errors.Is(err, document.ErrMalformed) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
