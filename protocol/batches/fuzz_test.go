package batches_test

import (
	"bytes"
	"crypto/sha256"
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document/documenttest"
	"telltale.dev/protocol/schemas"
)

// FuzzBatch: what is accepted can be written again and then means the same.
func FuzzBatch(f *testing.F) {
	for _, mode := range []protocol.Mode{protocol.ModeAll, protocol.ModeOnChange} {
		for _, rows := range []int{0, 3, 100} {
			payload, _ := batchestest.Sample(f, mode, rows)
			f.Add(payload)
			plain, err := compress.Unpack(payload, compress.MaxSize)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(plain)
		}
	}
	f.Add(batchOf(f, []any{1, 3, []byte{0x30, 0, 0}, []byte{0x41, 2, 0, 1, 0x11, 4, 2}}))
	f.Add(batchOf(f, []any{2, 9, []byte{0x20, 0, 2}, []byte{0x04, 0, 2, 1, 0, 3}, []byte{0x03, 0, 3, 1, 2, 3, 0}}))
	s, _ := batchestest.Known(f, batchestest.SchemaOf(protocol.ModeOnChange, 3, 1, 2)) // takes what ModeAll writes, too
	f.Fuzz(func(t *testing.T, payload []byte) {
		h, headerErr := batches.ParseHeader(payload)
		b, err := batches.Decode(payload, s)
		if err != nil {
			return
		}
		if headerErr != nil || !reflect.DeepEqual(h, b.Header) {
			t.Fatalf("got header %v, %v; the batch has %v", h, headerErr, b.Header)
		}
		if b.Samples() > 1<<16 {
			t.Skip("large")
		}
		plain, err := batches.Unpack(payload)
		if err != nil {
			t.Fatal(err)
		}
		if outline, err := batches.ReadOutline(plain); err != nil || len(outline.Groups) != len(b.Rows) {
			t.Fatalf("got %d groups, error %v; want %d", len(outline.Groups), err, len(b.Rows))
		}
		e := batches.NewEncoder(s, b.Schema)
		refill(e, b)
		again, err := e.Encode(b.Header, nil)
		if err != nil {
			t.Skip(err) // times that an Encoder does not take
		}
		second, err := batches.Decode(again, s)
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
func refill(e *batches.Encoder, b *batches.Batch) {
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
	for _, s := range []*schemas.Schema{batchestest.SchemaOf(protocol.ModeAll), batchestest.SchemaOf(protocol.ModeOnChange, 2, 1), mixed()} {
		doc, _, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := schemas.Parse(doc)
		if err != nil {
			return
		}
		doc, err = compress.Unpack(doc, schemas.MaxSize)
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
		if second, err := schemas.Parse(again); err != nil || !reflect.DeepEqual(second, s) {
			t.Errorf("got %+v, %v; want %+v", second, err, s)
		}
		for i := range s.Signals {
			s.Signals[i].Physical(1)
		}
	})
}
