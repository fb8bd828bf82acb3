package batches_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/document/documenttest"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// recorded is what the last agent that knew version 1 alone wrote of a recording.
type recorded struct {
	Hash   string `json:"hash"`   // of the schema document
	Schema []byte `json:"schema"` // packed; empty: only the hash is kept
	Batch  []byte `json:"batch"`  // the first two seconds
}

func version1(t *testing.T) (all map[string]recorded) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "version1.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestVersion1IsWritten: what comes from CAN alone is written byte by byte as before, so that a cloud of the version
// before takes it, and batches of before and after an update belong to one schema.
func TestVersion1IsWritten(t *testing.T) {
	seen := 0
	for what, want := range version1(t) {
		name, mode, _ := strings.Cut(what, " ")
		s, _ := schemas.Of(load(t, name).plan.Catalogue(), "everything", "all", protocol.Mode(mode), load(t, name).layouts, func(int) bool { return true })
		doc, hash, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if hash.String() != want.Hash || s.Version != schemas.Version1 {
			t.Errorf("%s: got version %d with hash %v, want %s", what, s.Version, hash, want.Hash)
		}
		if len(want.Schema) == 0 {
			continue
		}
		seen++
		if old, err := compress.Unpack(want.Schema, schemas.MaxSize); err != nil || !bytes.Equal(old, doc) {
			t.Errorf("%s: got other bytes than before, error %v", what, err)
		}
	}
	if seen != 2 {
		t.Errorf("got %d documents in testdata, want 2", seen)
	}
}

// TestVersion1IsRead: schema and batch that an agent of the version before wrote mean what they meant.
func TestVersion1IsRead(t *testing.T) {
	for what, old := range version1(t) {
		if len(old.Schema) == 0 {
			continue
		}
		name, mode, _ := strings.Cut(what, " ")
		got, err := schemas.Parse(old.Schema)
		if err != nil {
			t.Fatal(err)
		}
		r := load(t, name)
		s, id := r.schema(t, protocol.Mode(mode))
		if !reflect.DeepEqual(got, s) {
			t.Errorf("%s: got another schema than the recording's", what)
		}
		rows := r.rows
		if got.Mode == protocol.ModeOnChange {
			rows = r.changes(s)
		}
		e := batches.NewEncoder(s, id)
		var want []byte
		drive(e, rows, 2*time.Second, func() {
			if want == nil {
				if want, err = e.Encode(batchestest.Header, nil); err != nil {
					t.Fatal(err)
				}
			}
			e.Reset()
		})
		mine, err := batches.Decode(want, s)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := batches.Decode(old.Batch, got)
		if err != nil || !reflect.DeepEqual(mine, theirs) || mine.Samples() == 0 {
			t.Errorf("%s: got another batch from the bytes of before, error %v", what, err)
		}
	}
}

// mixed is a schema of signals of several kinds.
func mixed() *schemas.Schema {
	return &schemas.Schema{
		Version: schemas.Version2, Campaign: "everything", Rule: "all", Tick: 1000, Mode: protocol.ModeAll, Files: [][32]byte{{1}},
		Signals: []signal.Signal{
			{Kind: signal.CAN, Bus: "can0", Message: "SPEED", Name: "SPEED", Unit: "km/h", Scale: "0.01", Offset: "0",
				CAN: &signal.Bits{ID: 0xB4, Length: 16, BigEndian: true, Start: 47}},
			{Kind: signal.GNSS, Bus: "gnss0", Message: "fix", Name: "latitude", Unit: "deg", IEEE: 64, Scale: "1", Offset: "0", VSS: "Vehicle.CurrentLocation.Latitude"},
			{Kind: signal.Workload, Bus: "wipers", Message: "state", Name: "rain", Signed: true, Scale: "1", Offset: "0", Values: map[int64]string{0: "dry"}},
			{Kind: signal.Diagnostics, Bus: "ecu-7e0", Message: "0x0C", Name: "rpm", Unit: "1/min", Scale: "0.25", Offset: "0"},
			{Kind: "lidar-2", Bus: "roof", Message: "cloud", Name: "points", Scale: "1", Offset: "0"}, // of a later version
		},
		Groups: [][]uint32{{0}, {1}, {2}, {3}, {4}},
	}
}

// TestVersion2: signals of other kinds are written, read back and mean the same.
func TestVersion2(t *testing.T) {
	s := mixed()
	doc, hash, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema2.hex", hash.String()+"\n"+hexLines(doc))
	got, err := schemas.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Signals {
		s.Signals[i].Prepare()
	}
	if !reflect.DeepEqual(got, s) {
		t.Errorf("got %+v, want %+v", got, s)
	}
	if v := got.Signals[3].Physical(3000); v != 750 {
		t.Errorf("got %v, want 750", v)
	}
	if text, ok := got.Signals[2].Text(0); !ok || text != "dry" {
		t.Errorf("got %q", text)
	}
}

func TestVersion2Refuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*schemas.Schema)
		place  string
		want   error
	}{
		{"version 1", func(s *schemas.Schema) { s.Version = schemas.Version1 }, "signals[1].kind", document.ErrVersion},
		{"a kind in words", func(s *schemas.Schema) { s.Signals[1].Kind = "sat nav" }, "signals[1].kind", document.ErrMalformed},
		{"a long kind", func(s *schemas.Schema) { s.Signals[1].Kind = signal.Kind(strings.Repeat("k", 33)) }, "signals[1].kind", document.ErrMalformed},
		{"a place for GNSS", func(s *schemas.Schema) { s.Signals[1].CAN = &signal.Bits{Length: 1} }, "signals[1].can", document.ErrMalformed},
		{"no place for CAN", func(s *schemas.Schema) { s.Signals[0].CAN = nil }, "signals[0].can", document.ErrMalformed},
		{"no name", func(s *schemas.Schema) { s.Signals[4].Name = "" }, "signals[4].n", document.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := mixed()
			test.change(s)
			if _, _, err := s.Encode(); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.place) {
				t.Errorf("got error %v, want %v at %s", err, test.want, test.place)
			}
		})
	}
}

// withField gives the document of mixed with one more field, at a path, and a list of those that must be understood.
func withField(t *testing.T, path string, value any, must ...string) []byte {
	t.Helper()
	doc, _, err := mixed().Encode()
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := cbor.Unmarshal(doc, &fields); err != nil {
		t.Fatal(err)
	}
	signals := fields["signals"].([]any)
	switch path {
	case "":
	case "signals.precision":
		signals[1].(map[any]any)["precision"] = value
	case "signals.can.fd":
		signals[0].(map[any]any)["can"].(map[any]any)["fd"] = value
	default:
		fields[path] = value
	}
	if must != nil {
		fields["must"] = must
	}
	return documenttest.Marshal(t, fields)
}

// TestVersion2IsOpen: fields of later versions are passed over, but for those that must be understood, and the hash is
// that of the bytes that came.
func TestVersion2IsOpen(t *testing.T) {
	tests := []struct {
		name string
		doc  []byte
		want error
	}{
		{"nothing more", withField(t, "", nil), nil},
		{"a field", withField(t, "origin", "factory"), nil},
		{"a structure", withField(t, "origin", map[string]any{"deep": []any{map[string]any{"x": 1.5}, nil, true, -7}}), nil},
		{"a field of a signal", withField(t, "signals.precision", 3), nil},
		{"a field of a place", withField(t, "signals.can.fd", true), nil},
		{"must, known", withField(t, "origin", 1, "signals.n", "signals.can.start", "groups"), nil},
		{"must, a field", withField(t, "origin", 1, "origin"), document.ErrNotSupported},
		{"must, a field of a signal", withField(t, "signals.precision", 3, "signals.precision"), document.ErrNotSupported},
		{"must, a field of a place", withField(t, "signals.can.fd", true, "signals.can.fd"), document.ErrNotSupported},
		{"must is no list", withField(t, "must", 1), document.ErrMalformed},
		{"a known field of another type", withField(t, "tick", "1 ms"), document.ErrMalformed},
		{"version 3", withField(t, "v", 3), document.ErrVersion},
		{"version 1", withField(t, "v", 1), document.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := schemas.Parse(test.doc)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("got error %v, want %v", err, test.want)
			}
			if err == nil && (len(s.Signals) != 5 || s.Signals[0].CAN.Start != 47) {
				t.Errorf("got %+v", s)
			}
			packed, err := compress.Pack(test.doc)
			if err != nil {
				t.Fatal(err)
			}
			if doc, err := compress.Unpack(packed, schemas.MaxSize); err != nil || sha256.Sum256(doc) != sha256.Sum256(test.doc) {
				t.Errorf("packing changes the document, error %v", err)
			}
		})
	}
}

// TestCanonical: one form for each document, whatever version brought its fields.
func TestCanonical(t *testing.T) {
	doc := withField(t, "zone", []any{"x", 1.5, 100000.25, 3.141592653589793, 65504.0, 5.960464477539063e-08, 0.0, nil, false})
	if _, err := schemas.Parse(doc); err != nil {
		t.Fatal(err)
	}
	swap := func(from, to string) []byte {
		t.Helper()
		changed := bytes.Replace(doc, []byte(from), []byte(to), 1)
		if bytes.Equal(changed, doc) {
			t.Fatalf("%x is not in %x", from, doc)
		}
		return changed
	}
	zone := "\x64zone\x89"
	tests := map[string][]byte{
		"a long head of an unknown array": swap(zone, "\x64zone\x98\x09"),
		"an endless array":                swap(zone+"\x61x", "\x64zone\x9F\x61x"),
		"a long text head":                swap(zone+"\x61x", zone+"\x78\x01x"),
		"no UTF-8":                        swap(zone+"\x61x", zone+"\x61\xFF"),
		"a float that fits a half":        swap("\xF9\x3E\x00", "\xFA\x3F\xC0\x00\x00"),
		"a float that fits a half, twice": swap("\xF9\x3E\x00", "\xFB\x3F\xF8\x00\x00\x00\x00\x00\x00"),
		"a double that fits a single":     swap("\xFA\x47\xC3\x50\x20", "\xFB\x40\xF8\x6A\x04\x00\x00\x00\x00"),
		"a tiny single that fits a half":  swap("\xF9\x00\x01", "\xFA\x33\x80\x00\x00"),
		"NaN":                             swap("\xF9\x3E\x00", "\xF9\x7E\x00"),
		"infinity":                        swap("\xF9\x3E\x00", "\xFA\x7F\x80\x00\x00"),
		"undefined":                       swap("\xF6\xF4", "\xF7\xF4"),
		"a tag":                           swap(zone+"\x61x", zone+"\xC1\x01"),
		"a simple value of its own":       swap("\xF6\xF4", "\xE0\xF4"),
		"more":                            append(bytes.Clone(doc), 0),
		"less":                            doc[:len(doc)-1],
		"a huge count":                    swap(zone, "\x64zone\x9B\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
		"keys that fall":                  append(swap("\x61v\x02", ""), "\x61v\x02"...),
		"a key twice":                     bytes.Replace(swap("\x61v\x02", "\x61v\x02\x61v\x02"), []byte{doc[0]}, []byte{doc[0] + 1}, 1),
		"too deep":                        withField(t, "zone", deep(20)),
		"nothing":                         nil,
	}
	for name, changed := range tests {
		if _, err := schemas.Parse(changed); !errors.Is(err, document.ErrMalformed) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

// deep is a list in a list, and so on.
func deep(n int) any {
	if n == 0 {
		return 1
	}
	return []any{deep(n - 1)}
}
