package batches_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
)

// array makes a batch by hand, so that it can be wrong.
func array(t testing.TB, elements ...any) []byte {
	t.Helper()
	data, err := cbor.Marshal(elements)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// batchOf makes an uncompressed batch with these groups.
func batchOf(t testing.TB, groups ...any) []byte {
	return array(t, 1, make([]byte, 8), "tcu-a", make([]byte, 8), 7, int64(1_700_000_000_000), groups)
}

// allocated is how many bytes run allocates.
func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestTruncated(t *testing.T) {
	for _, rows := range []int{3, 400} {
		payload, s := batchestest.Sample(t, protocol.ModeOnChange, rows)
		plain, err := compress.Unpack(payload, compress.MaxSize)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{payload, plain} {
			for n := range len(data) {
				if _, err := batches.Decode(data[:n], s); err == nil {
					t.Fatalf("the first %d of %d bytes were accepted", n, len(data))
				}
				_, _ = batches.ParseHeader(data[:n])
				if part, err := batches.Unpack(data[:n]); err == nil {
					if _, err := batches.ReadOutline(part); err == nil {
						t.Fatalf("the first %d of %d bytes have an outline", n, len(data))
					}
				}
			}
			if _, err := batches.Decode(append(bytes.Clone(data), 0), s); err == nil {
				t.Error("a byte too many was accepted")
			}
		}
	}
	doc, _, _ := batchestest.SchemaOf(protocol.ModeAll, 2).Encode()
	for n := range len(doc) {
		if _, err := schemas.Parse(doc[:n]); err == nil {
			t.Fatalf("the first %d bytes of a schema were accepted", n)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	s, _ := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeAll, 2, 1))
	group := func(elements ...any) []any { return elements }
	tests := []struct {
		name    string
		payload []byte
		want    error
	}{
		{"nothing", nil, document.ErrMalformed},
		{"a map", []byte{0xA0}, document.ErrMalformed},
		{"text", []byte("VERSION"), document.ErrMalformed},
		{"another version", array(t, 3, make([]byte, 8), "a", make([]byte, 8), 1, 0, []any{}), document.ErrVersion},
		{"a short schema id", array(t, 1, make([]byte, 7), "a", make([]byte, 8), 1, 0, []any{}), document.ErrMalformed},
		{"a bad device", array(t, 1, make([]byte, 8), "a/b", make([]byte, 8), 1, 0, []any{}), document.ErrMalformed},
		{"sequence 0", array(t, 1, make([]byte, 8), "a", make([]byte, 8), 0, 0, []any{}), document.ErrMalformed},
		{"no groups", array(t, 1, make([]byte, 8), "a", make([]byte, 8), 1, 0), document.ErrMalformed},
		{"a trigger", array(t, 1, make([]byte, 8), "a", make([]byte, 8), 1, 0, []any{}, "rule", 3), document.ErrMalformed},
		{"no drops", array(t, 1, make([]byte, 8), "a", make([]byte, 8), 1, 0, []any{}, nil, 0), document.ErrMalformed},
		{"an unknown group", batchOf(t, group(2, 1, 0, 5)), batches.ErrSchema},
		{"a group twice", batchOf(t, group(1, 1, 0, 5), group(1, 1, 0, 5)), batches.ErrSchema},
		{"a column too few", batchOf(t, group(0, 1, 0, 5)), batches.ErrSchema},
		{"no rows", batchOf(t, group(1, 0, 0, 5)), document.ErrMalformed},
		{"too many rows", batchOf(t, group(1, batches.MaxRows+1, 0, 5)), document.ErrLimit},
		{"rows beyond counting", batchOf(t, group(1, uint64(1)<<63, 0, 5)), document.ErrLimit},
		{"absent in mode all", batchOf(t, group(1, 4, 0, nil)), document.ErrMalformed},
		{"absent times", batchOf(t, group(1, 4, nil, 5)), document.ErrMalformed},
		{"a float", batchOf(t, group(1, 1, 0, 1.5)), document.ErrMalformed},
		{"beyond 64 bits", batchOf(t, group(1, 1, 0, uint64(1)<<63)), document.ErrMalformed},
		{"an empty column", batchOf(t, group(1, 1, 0, []byte{})), document.ErrMalformed},
		{"an unknown transform", batchOf(t, group(1, 1, 0, []byte{0x51, 0, 0})), document.ErrMalformed},
		{"an unknown packing", batchOf(t, group(1, 1, 0, []byte{0x05, 0, 0})), document.ErrMalformed},
		{"a long varint", batchOf(t, group(1, 1, 0, []byte{0x01, 0, 0x80, 0})), document.ErrMalformed},
		{"a varint of 65 bits", batchOf(t, group(1, 1, 0, []byte{0x01, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2})), document.ErrMalformed},
		{"9 planes", batchOf(t, group(1, 1, 0, append([]byte{0x02, 0, 9}, make([]byte, 9)...))), document.ErrMalformed},
		{"57 bits", batchOf(t, group(1, 1, 0, append([]byte{0x03, 0, 57}, make([]byte, 8)...))), document.ErrMalformed},
		{"bits after the last", batchOf(t, group(1, 1, 0, []byte{0x03, 0, 1, 2})), document.ErrMalformed},
		{"more runs than rows", batchOf(t, group(1, 1, 0, []byte{0x04, 0, 2, 1, 1, 0})), document.ErrMalformed},
		{"a run too long", batchOf(t, group(1, 3, 0, []byte{0x04, 0, 2, 1, 1, 2})), document.ErrMalformed},
		{"one row with a step", batchOf(t, group(1, 1, 0, []byte{0x20, 0, 2})), document.ErrMalformed},
		{"bytes after a column", batchOf(t, group(1, 3, 0, []byte{0x00, 0, 0})), document.ErrMalformed},
		{"times out of range", batchOf(t, group(1, 2, []byte{0x10 | 1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, 5)), document.ErrMalformed},
		{"a number in a long form", bytes.Replace(batchOf(t), []byte{7}, []byte{0x18, 7}, 1), document.ErrMalformed},
		{"an array without a length", append([]byte{0x9F}, append(batchOf(t)[1:], 0xFF)...), document.ErrMalformed},
		{"a long device id", array(t, 1, make([]byte, 8), string(bytes.Repeat([]byte("a"), 1<<16)), make([]byte, 8), 1, 0, []any{}), document.ErrMalformed},
		{"a column longer than the batch", append(batchOf(t, group(1, 1, 0))[:30], 0x5B, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0), document.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if b, err := batches.Decode(test.payload, s); !errors.Is(err, test.want) {
				t.Errorf("got %v, error %v, want %v", b, err, test.want)
			}
		})
	}
}

func TestSparseRefuses(t *testing.T) {
	s, _ := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeOnChange, 1))
	for name, column := range map[string][]byte{
		"no bitmap":            {0x40},
		"an empty bitmap":      {0x40, 0, 0x00, 0},
		"a full bitmap":        {0x40, 7, 0x00, 0},
		"a row after the last": {0x40, 9, 0x00, 0},
		"no gaps":              {0x41, 0, 0x00, 0},
		"gaps beyond the rows": {0x41, 2, 1, 1, 0x00, 0},
		"more gaps than rows":  {0x41, 4, 0, 0, 0, 0, 0x00, 0},
		"an unknown way":       {0x42, 1, 0x00, 0},
		"sparse in sparse":     {0x41, 1, 0, 0x41, 1, 0, 0x00, 0},
		"no column":            {0x41, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := batches.Decode(batchOf(t, []any{0, 3, 0, column}), s); !errors.Is(err, document.ErrMalformed) {
				t.Errorf("got %v, error %v", b, err)
			}
		})
	}
	b, err := batches.Decode(batchOf(t, []any{0, 3, 0, []byte{0x41, 2, 0, 1, 0x11, 4, 2}}), s)
	if err != nil {
		t.Fatal(err)
	}
	if g := b.Rows[0]; g.Columns[0][0] != 2 || g.Has(0, 1) || g.Columns[0][2] != 3 {
		t.Errorf("got %+v", g)
	}
}

// zstdFrame is one frame as another program would make it.
func zstdFrame(t testing.TB, data []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(data, nil)
}

// TestForeignFrames: other programs may compress too.
func TestForeignFrames(t *testing.T) {
	payload, s := batchestest.Sample(t, protocol.ModeAll, 300)
	plain, err := compress.Unpack(payload, compress.MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	foreign := zstdFrame(t, plain)
	want, err := batches.ParseHeader(payload)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := batches.ParseHeader(foreign); err != nil || got.ID != want.ID || got.Drops != want.Drops {
		t.Errorf("got header %v, %v; want %v", got, err, want)
	}
	if _, err := batches.Decode(foreign, s); err != nil {
		t.Error(err)
	}
}

// TestBombs: a few bytes that ask for much memory are refused without it.
func TestBombs(t *testing.T) {
	s, _ := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeAll, 1))
	streamed := new(bytes.Buffer)
	z, err := zstd.NewWriter(streamed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = z.Write(make([]byte, 48<<20)); err != nil {
		t.Fatal(err)
	}
	if err = z.Close(); err != nil {
		t.Fatal(err)
	}
	lying := zstdFrame(t, make([]byte, 1000), zstd.WithSingleSegment(true))
	lying = append([]byte{0x28, 0xB5, 0x2F, 0xFD, 0xA0, 0, 0, 0xF0, 0}, lying[7:]...) // says 15 MiB
	valid, _ := batchestest.Sample(t, protocol.ModeAll, 300)
	tests := []struct {
		name string
		data []byte
		most uint64
	}{
		{"48 MiB of zeros", zstdFrame(t, make([]byte, 48<<20)), 256 << 10},
		{"48 MiB of zeros without a size", streamed.Bytes(), 256 << 10},
		{"16 MiB of zeros", zstdFrame(t, make([]byte, 16<<20)), 256 << 10},
		{"16 MiB of nested arrays", zstdFrame(t, bytes.Repeat([]byte{0x81}, 16<<20)), 256 << 10},
		{"a size without content", lying, 256 << 10},
		{"a second frame", append(bytes.Clone(valid), zstdFrame(t, make([]byte, 8<<20))...), 512 << 10},
		{"nested arrays", bytes.Repeat([]byte{0x81}, 737_000), 64 << 10},
		{"nested maps", bytes.Repeat([]byte{0xA1, 0x00}, 370_000), 64 << 10},
		{"an array of 4 G", []byte{0x9A, 0xFF, 0xFF, 0xFF, 0xFF}, 64 << 10},
		{"text of 4 G", []byte{0x87, 1, 0x48, 0, 0, 0, 0, 0, 0, 0, 0, 0x7A, 0xFF, 0xFF, 0xFF, 0xFF}, 64 << 10},
		{"rows × columns", batchOf(t, []any{0, batches.MaxRows, 0, 0}, []any{0, batches.MaxRows, 0, 0}), 32 << 20},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _ = batches.ParseHeader(valid) // the decoder of the pool is made
			for name, read := range map[string]func() error{
				"Decode":      func() error { _, err := batches.Decode(test.data, s); return err },
				"ParseSchema": func() error { _, err := schemas.Parse(test.data); return err },
				"Unmarshal":   func() error { var v any; return document.Unmarshal(test.data, &v) },
			} {
				var err error
				if got := allocated(func() { err = read() }); got > test.most {
					t.Errorf("%s of %d bytes allocated %d bytes, want at most %d", name, len(test.data), got, test.most)
				}
				if err == nil && name == "Decode" {
					t.Errorf("%s accepted it", name)
				}
			}
		})
	}
}

// TestMostMemory: the largest batch that is accepted stays within what MaxSamples says.
func TestMostMemory(t *testing.T) {
	s, _ := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeAll, 4, 1))
	data := batchOf(t, []any{0, batches.MaxRows, 0, 1, 2, 3, 4})
	const most = 8*batches.MaxSamples + 8*batches.MaxRows + 1<<20
	if got := allocated(func() {
		if _, err := batches.Decode(data, s); err != nil {
			t.Error(err)
		}
	}); got > most {
		t.Errorf("%d bytes allocated %d bytes, want at most %d", len(data), got, most)
	}
}
