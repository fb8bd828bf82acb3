package codec_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/codec"
	"telltale.dev/protocol/document/documenttest"
)

// FuzzBatch: what is accepted can be written again and then means the same.
func FuzzBatch(f *testing.F) {
	for _, mode := range []protocol.Mode{protocol.ModeAll, protocol.ModeOnChange} {
		for _, rows := range []int{0, 3, 100} {
			payload, _ := sample(f, mode, rows)
			f.Add(payload)
			plain, err := codec.Unpack(payload, codec.MaxPlain)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(plain)
		}
	}
	f.Add(batchOf(f, []any{1, 3, []byte{0x30, 0, 0}, []byte{0x41, 2, 0, 1, 0x11, 4, 2}}))
	f.Add(batchOf(f, []any{2, 9, []byte{0x20, 0, 2}, []byte{0x04, 0, 2, 1, 0, 3}, []byte{0x03, 0, 3, 1, 2, 3, 0}}))
	s, _ := known(f, schemaOf(protocol.ModeOnChange, 3, 1, 2)) // takes what ModeAll writes, too
	find := func(protocol.SchemaID) (*codec.Schema, bool) { return s, true }
	f.Fuzz(func(t *testing.T, payload []byte) {
		h, headerErr := codec.ParseHeader(payload)
		b, err := codec.Decode(payload, s)
		if err != nil {
			return
		}
		if headerErr != nil || !reflect.DeepEqual(h, b.Header) {
			t.Fatalf("got header %v, %v; the batch has %v", h, headerErr, b.Header)
		}
		if b.Samples() > 1<<16 {
			t.Skip("large")
		}
		if v, what, err := codec.Inspect(payload, find); err != nil || what != codec.FoundBatch {
			t.Fatalf("got %s, error %v from Inspect", what, err)
		} else if _, err := json.Marshal(v); err != nil {
			t.Fatal(err)
		}
		e := codec.NewEncoder(s, b.Schema)
		refill(e, b)
		again, err := e.Encode(b.Header, nil)
		if err != nil {
			t.Skip(err) // times that an Encoder does not take
		}
		second, err := codec.Decode(again, s)
		if err != nil {
			t.Fatalf("got %v for what was written again", err)
		}
		b.T0, second.T0 = 0, 0 // need not be the first time
		if !reflect.DeepEqual(second, b) {
			t.Errorf("got %+v, want %+v", second, b)
		}
	})
}

// refill adds the rows of b to e.
func refill(e *codec.Encoder, b *codec.Batch) {
	for i := range b.Rows {
		g := &b.Rows[i]
		for row, at := range g.Time {
			raw, present := make([]int64, len(g.Columns)), make([]uint64, (len(g.Columns)+63)/64)
			for c := range g.Columns {
				raw[c] = g.Columns[c][row]
				if g.Has(c, row) {
					present[c/64] |= 1 << (c % 64)
				}
			}
			e.AddChanged(g.Group, at, raw, present)
		}
	}
}

// FuzzSchema: what is accepted has one form and so one hash, whatever its fields mean, and means the same when it is
// written again.
func FuzzSchema(f *testing.F) {
	for _, s := range []*codec.Schema{schemaOf(protocol.ModeAll), schemaOf(protocol.ModeOnChange, 2, 1), mixed()} {
		doc, _, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := codec.ParseSchema(doc)
		if err != nil {
			return
		}
		doc, err = codec.Unpack(doc, codec.MaxSchemaSize)
		if err != nil {
			t.Fatal(err)
		}
		var fields any
		if err := cbor.Unmarshal(doc, &fields); err != nil {
			t.Fatal(err)
		}
		if same := documenttest.Marshal(t, fields); !bytes.Equal(same, doc) {
			t.Errorf("got %x, want %x", same, doc)
		}
		again, hash, err := s.Encode()
		if err != nil || hash != sha256.Sum256(again) {
			t.Fatalf("got hash %v, error %v", hash, err)
		}
		if second, err := codec.ParseSchema(again); err != nil || !reflect.DeepEqual(second, s) {
			t.Errorf("got %+v, %v; want %+v", second, err, s)
		}
		for i := range s.Signals {
			s.Signals[i].Physical(1)
		}
	})
}

// FuzzInspect: whatever is shown can be shown as JSON.
func FuzzInspect(f *testing.F) {
	payload, s := sample(f, protocol.ModeAll, 9)
	f.Add(payload)
	f.Add([]byte(campaignYAML))
	f.Add(documenttest.Marshal(f, protocol.Presence{Version: 1, State: protocol.PresenceOnline, Device: "tcu-a", Connection: 1}))
	f.Add(documenttest.Marshal(f, campaigns.Set{Version: 1, Revision: 2, Campaigns: []campaigns.Campaign{campaigns.Everything()}}))
	f.Add([]byte{0xA1, 0x20, 0x41, 0xFF})
	f.Add(append(bytes.Clone(payload), '\n'))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, ok := range []bool{true, false} {
			v, what, err := codec.Inspect(data, func(protocol.SchemaID) (*codec.Schema, bool) { return s, ok })
			if err != nil {
				continue
			}
			if _, err := json.Marshal(v); err != nil || what == "" {
				t.Errorf("got %q, error %v", what, err)
			}
		}
	})
}
