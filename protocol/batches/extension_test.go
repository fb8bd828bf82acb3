package batches_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document"
)

// TestTimeQuality: the quality is found without decompressing and with the batch; a batch
// without one is written as version 1, byte for byte as before there were qualities.
func TestTimeQuality(t *testing.T) {
	words := map[batches.TimeQuality]string{batches.TimeUnknown: "", batches.TimeGNSS: "gnss", batches.TimeNTP: "ntp", batches.TimeRTC: "rtc", batches.TimeUnsynced: "unsynced"}
	for _, rows := range []int{1, 3000} {
		for q, word := range words {
			s, id := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeAll, 2))
			e := batches.NewEncoder(s, id)
			for i := range rows {
				e.Add(0, int64(i)*10_000, []int64{int64(i * i), int64(i)})
			}
			h := batchestest.Header
			h.TimeQuality = q
			h.Evicted = []protocol.SeqRange{{Boot: protocol.BootID{5}, From: 3, To: 9}}
			payload, err := e.Encode(h, nil)
			if err != nil {
				t.Fatal(err)
			}
			h.Schema = id
			b, err := batches.Decode(payload, s)
			if err != nil || !reflect.DeepEqual(b.Header, h) || b.Samples() != 2*rows {
				t.Errorf("%q: got %+v, %v, want %+v", word, b, err, h)
			}
			if got, err := batches.ParseHeader(payload); err != nil || !reflect.DeepEqual(got, h) {
				t.Errorf("%q: got header %+v, %v, want %+v", word, got, err, h)
			}
			if q.String() != word {
				t.Errorf("got %q, want %q", q, word)
			}
			plain, err := compress.Unpack(payload, compress.MaxSize)
			if want := min(byte(q), 1) + 1; err != nil || plain[1] != want {
				t.Errorf("%q: got version %d, %v, want %d", word, plain[1], err, want)
			}
		}
	}
}

// TestWorseQuality: a batch is as good as the worst of its times.
func TestWorseQuality(t *testing.T) {
	for _, c := range [][3]batches.TimeQuality{
		{batches.TimeGNSS, batches.TimeGNSS, batches.TimeGNSS}, {batches.TimeGNSS, batches.TimeNTP, batches.TimeNTP},
		{batches.TimeUnsynced, batches.TimeNTP, batches.TimeUnsynced}, {batches.TimeRTC, batches.TimeUnknown, batches.TimeUnknown},
	} {
		if got := c[0].Worse(c[1]); got != c[2] || c[1].Worse(c[0]) != got {
			t.Errorf("%q and %q: got %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

// TestExtensions: what a later version adds is passed over, unless it must be understood.
func TestExtensions(t *testing.T) {
	s, _ := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeAll, 1))
	batch := func(extensions []byte) []byte {
		data := array(t, 2, make([]byte, 8), "tcu-a", make([]byte, 8), 7, "here", int64(1), []any{[]any{0, 1, 0, 5}})
		return bytes.Replace(data, []byte("\x64here"), extensions, 1)
	}
	many := []byte{0xB8, 33} // a map of 33
	for i := range byte(33) {
		many = append(many, 0x18, 100+i, 0)
	}
	for _, c := range []struct {
		name       string
		extensions []byte
		quality    batches.TimeQuality
		want       error
	}{
		{"none", []byte{0xA0}, batches.TimeUnknown, nil},
		{"a quality", []byte{0xA1, 1, 2}, batches.TimeNTP, nil},
		{"a quality of a later version", []byte{0xA1, 1, 9}, batches.TimeUnknown, nil},
		{"unknown ones", []byte{0xA4, 1, 2, 2, 0x41, 7, 3, 0x61, 'x', 4, 0x20}, batches.TimeNTP, nil},
		{"those that must be understood are", []byte{0xA2, 0, 0x42, 1, 0, 1, 3}, batches.TimeRTC, nil},
		{"one that must be understood is not", []byte{0xA2, 0, 0x42, 1, 9, 1, 3}, batches.TimeUnknown, document.ErrVersion},
		{"must is no bytes", []byte{0xA1, 0, 1}, batches.TimeUnknown, document.ErrMalformed},
		{"keys fall", []byte{0xA2, 2, 0, 1, 0}, batches.TimeUnknown, document.ErrMalformed},
		{"a key twice", []byte{0xA2, 1, 2, 1, 2}, batches.TimeUnknown, document.ErrMalformed},
		{"a key of text", []byte{0xA1, 0x61, 'q', 1}, batches.TimeUnknown, document.ErrMalformed},
		{"a list as value", []byte{0xA1, 5, 0x80}, batches.TimeUnknown, document.ErrMalformed},
		{"a quality of text", []byte{0xA1, 1, 0x61, 'n'}, batches.TimeUnknown, document.ErrMalformed},
		{"no map", []byte{1}, batches.TimeUnknown, document.ErrMalformed},
		{"too many", many, batches.TimeUnknown, document.ErrLimit},
		{"more than there are", []byte{0xAA, 1, 2}, batches.TimeUnknown, document.ErrMalformed},
	} {
		payload := batch(c.extensions)
		b, err := batches.Decode(payload, s)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && (b.TimeQuality != c.quality || b.Rows[0].Columns[0][0] != 5) {
			t.Errorf("%s: got %+v, %v, want %q, %v", c.name, b, err, c.quality, c.want)
		}
		if _, err := batches.ParseHeader(payload); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v from ParseHeader, want %v", c.name, err, c.want)
		}
		if _, err := batches.Measure(payload); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v from Measure, want %v", c.name, err, c.want)
		}
	}
}
