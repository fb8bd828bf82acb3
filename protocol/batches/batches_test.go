package batches_test

import (
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// shapes are kinds of columns, each of which should meet another coding.
var shapes = []struct {
	name string
	at   func(r *rand.Rand, i int, last int64) int64
}{
	{"constant", func(*rand.Rand, int, int64) int64 { return -77 }},
	{"counter", func(_ *rand.Rand, i int, _ int64) int64 { return int64(i % 16) }},
	{"ramp", func(_ *rand.Rand, i int, _ int64) int64 { return int64(i) * 1_000_003 }},
	{"drift", func(r *rand.Rand, _ int, last int64) int64 { return last + r.Int64N(7) - 3 }},
	{"steps", func(r *rand.Rand, _ int, last int64) int64 {
		if r.IntN(50) > 0 {
			return last
		}
		return r.Int64N(1 << 20)
	}},
	{"noise of a byte", func(r *rand.Rand, _ int, _ int64) int64 { return r.Int64N(256) }},
	{"noise of 3 bits", func(r *rand.Rand, _ int, _ int64) int64 { return 1000 + r.Int64N(8) }},
	{"noise of 64 bits", func(r *rand.Rand, _ int, _ int64) int64 { return int64(r.Uint64()) }},
	{"noise of 60 bits", func(r *rand.Rand, _ int, _ int64) int64 { return int64(r.Uint64() >> 4) }},
	{"extremes", func(r *rand.Rand, _ int, _ int64) int64 {
		return []int64{math.MinInt64, math.MaxInt64, 0, -1, 1}[r.IntN(5)]
	}},
	{"doubles", func(r *rand.Rand, i int, _ int64) int64 { return int64(math.Float64bits(float64(i) * r.Float64())) }},
	{"singles", func(r *rand.Rand, _ int, _ int64) int64 { return int64(math.Float64bits(float64(r.Float32()))) }},
}

// column makes n values of a shape.
func column(r *rand.Rand, shape, n int) []int64 {
	out := make([]int64, n)
	last := int64(5)
	for i := range out {
		out[i] = shapes[shape].at(r, i, last)
		last = out[i]
	}
	return out
}

func TestBatchRoundTrip(t *testing.T) {
	for c, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(c)))
			for _, n := range []int{1, 2, 3, 9, 65, 300, 5000} {
				s, id := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeAll, 1))
				e := batches.NewEncoder(s, id)
				values := column(r, c, n)
				for i, v := range values {
					e.Add(0, int64(i)*10_000, []int64{v})
				}
				b, _ := recode(t, e, s)
				if !reflect.DeepEqual(b.Rows[0].Columns[0], values) {
					t.Errorf("%d rows: got other values than were given", n)
				}
			}
		})
	}
}

// recode encodes and decodes.
func recode(t testing.TB, e *batches.Encoder, s *schemas.Schema) (*batches.Batch, []byte) {
	t.Helper()
	payload, err := e.Encode(batchestest.Header, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := batches.Decode(payload, s)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Samples(); got != e.Samples() {
		t.Errorf("got %d samples, want %d", got, e.Samples())
	}
	return b, payload
}

func TestTimesAreCutToTheTick(t *testing.T) {
	tests := []struct {
		name      string
		tick      int64
		at, floor []int64
	}{
		{"milliseconds", 1000, []int64{1_700_000_000_123_999, 1_700_000_000_124_000}, []int64{1_700_000_000_123_000, 1_700_000_000_124_000}},
		{"before the epoch", 1000, []int64{-1, -1000, -1001}, []int64{-1000, -1000, -2000}},
		{"backwards", 1000, []int64{9000, 5000, 7000}, []int64{9000, 5000, 7000}},
		{"microseconds", 1, []int64{1, 2, 4, 8}, []int64{1, 2, 4, 8}},
		{"far apart", 1, []int64{-1 << 61, 1 << 61, 0}, []int64{-1 << 61, 1 << 61, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := batchestest.SchemaOf(protocol.ModeAll, 1)
			s.Tick = test.tick
			s, id := batchestest.Known(t, s)
			e := batches.NewEncoder(s, id)
			for _, at := range test.at {
				e.Add(0, at, []int64{1})
			}
			if e.First() != test.at[0] || e.Last() != test.at[len(test.at)-1] {
				t.Errorf("got first %d and last %d", e.First(), e.Last())
			}
			b, _ := recode(t, e, s)
			if got := b.Rows[0].Time; !reflect.DeepEqual(got, test.floor) {
				t.Errorf("got %v, want %v", got, test.floor)
			}
		})
	}
}

// model is what a batch should hold: for each group times and rows.
type model struct {
	times   [][]int64
	values  [][][]int64
	present [][][]bool
}

// TestBatchProperty: whatever rows go in come out, in any mode.
func TestBatchProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]protocol.Mode{protocol.ModeAll, protocol.ModeGrid, protocol.ModeOnChange}).Draw(t, "mode")
		widths := rapid.SliceOfN(rapid.IntRange(1, 70), 1, 5).Draw(t, "widths")
		seed := rapid.Uint64().Draw(t, "seed")
		rows := rapid.IntRange(0, 200).Draw(t, "rows")
		s := batchestest.SchemaOf(mode, widths...)
		e := batches.NewEncoder(s, protocol.SchemaID{9})
		for range 2 { // the second time with the memory of the first
			want := fill(e, s, rand.New(rand.NewPCG(seed, 2)), rows)
			payload, err := e.Encode(batchestest.Header, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := batches.Decode(payload, s)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, b, want)
			e.Reset()
		}
	})
}

// fill adds random rows and remembers them.
func fill(e *batches.Encoder, s *schemas.Schema, r *rand.Rand, rows int) *model {
	m := &model{make([][]int64, len(s.Groups)), make([][][]int64, len(s.Groups)), make([][][]bool, len(s.Groups))}
	at := int64(1_700_000_000_000_000)
	shape := r.IntN(len(shapes))
	for i := range rows {
		g := r.IntN(len(s.Groups))
		width := len(s.Groups[g])
		at += r.Int64N(20) * 1000
		raw, there, bits := make([]int64, width), make([]bool, width), make([]uint64, (width+63)/64)
		for c := range raw {
			raw[c] = shapes[(shape+c)%len(shapes)].at(r, i, int64(i))
			there[c] = s.Mode != protocol.ModeOnChange || r.IntN(c%7+1) == 0
			if there[c] {
				bits[c/64] |= 1 << (c % 64)
			}
		}
		if s.Mode == protocol.ModeOnChange {
			e.AddChanged(g, at, raw, bits)
		} else {
			e.Add(g, at, raw)
		}
		m.times[g] = append(m.times[g], at)
		m.values[g] = append(m.values[g], raw)
		m.present[g] = append(m.present[g], there)
	}
	return m
}

func compare(t *rapid.T, b *batches.Batch, want *model) {
	groups := map[int]*batches.GroupRows{}
	for i := range b.Rows {
		groups[b.Rows[i].Group] = &b.Rows[i]
	}
	for g := range want.times {
		got, ok := groups[g]
		if ok != (len(want.times[g]) > 0) {
			t.Fatalf("group %d: got rows %v", g, ok)
		}
		if !ok {
			continue
		}
		if !reflect.DeepEqual(got.Time, want.times[g]) {
			t.Fatalf("group %d: got times %v, want %v", g, got.Time, want.times[g])
		}
		for row, raw := range want.values[g] {
			for c, v := range raw {
				there := want.present[g][row][c]
				if !there {
					v = 0
				}
				if got.Has(c, row) != there || got.Columns[c][row] != v {
					t.Fatalf("group %d row %d column %d: got %d %v, want %d %v", g, row, c, got.Columns[c][row], got.Has(c, row), v, there)
				}
			}
		}
	}
}

func TestHeader(t *testing.T) {
	s, id := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeAll, 2))
	evicted := []protocol.SeqRange{{Boot: protocol.BootID{7}, From: 1, To: 4}, {Boot: batchestest.Header.ID.Boot, From: 6, To: 6}}
	tests := []struct {
		name    string
		rows    int
		evicted []protocol.SeqRange
		drops   uint64
	}{
		{"no rows", 0, nil, 0},
		{"plain", 1, nil, 0},
		{"compressed", 1000, nil, 0},
		{"evicted", 1000, evicted, 0},
		{"drops", 1000, nil, 1 << 40},
		{"both", 1000, evicted, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := batches.NewEncoder(s, id)
			for i := range test.rows {
				e.Add(0, int64(i)*1000, []int64{int64(i * i % 251), 4})
			}
			want := batchestest.Header
			want.Evicted, want.Drops = test.evicted, test.drops
			payload, err := e.Encode(want, []byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			want.Schema = id
			payload = payload[len("before"):]
			if got, err := batches.ParseHeader(payload); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got header %+v, %v; want %+v", got, err, want)
			}
			b, err := batches.Decode(payload, s)
			if err != nil || !reflect.DeepEqual(b.Header, want) {
				t.Errorf("got batch %+v, %v; want header %+v", b, err, want)
			}
		})
	}
}

func TestEncoderRefuses(t *testing.T) {
	all, changes := batchestest.SchemaOf(protocol.ModeAll, 2), batchestest.SchemaOf(protocol.ModeOnChange, 2)
	bad := func(change func(*batches.Header)) batches.Header { h := batchestest.Header; change(&h); return h }
	tests := []struct {
		name   string
		schema *schemas.Schema
		add    func(*batches.Encoder)
		header batches.Header
		want   error
	}{
		{"another width", all, func(e *batches.Encoder) { e.Add(0, 0, []int64{1}) }, batchestest.Header, batches.ErrRows},
		{"no such group", all, func(e *batches.Encoder) { e.Add(1, 0, []int64{1, 2}) }, batchestest.Header, batches.ErrRows},
		{"a negative group", changes, func(e *batches.Encoder) { e.AddChanged(-1, 0, []int64{1, 2}, []uint64{3}) }, batchestest.Header, batches.ErrRows},
		{"no bitmap", changes, func(e *batches.Encoder) { e.Add(0, 0, []int64{1, 2}) }, batchestest.Header, batches.ErrRows},
		{"a bitmap", all, func(e *batches.Encoder) { e.AddChanged(0, 0, []int64{1, 2}, []uint64{3}) }, batchestest.Header, batches.ErrRows},
		{"a long bitmap", changes, func(e *batches.Encoder) { e.AddChanged(0, 0, []int64{1, 2}, []uint64{3, 0}) }, batchestest.Header, batches.ErrRows},
		{"a bit too many", changes, func(e *batches.Encoder) { e.AddChanged(0, 0, []int64{1, 2}, []uint64{7}) }, batchestest.Header, batches.ErrRows},
		{"a time of another world", all, func(e *batches.Encoder) { e.Add(0, math.MaxInt64, []int64{1, 2}) }, batchestest.Header, batches.ErrRows},
		{"too many rows", all, func(e *batches.Encoder) {
			for range batches.MaxRows + 1 {
				e.Add(0, 0, []int64{1, 2})
			}
		}, batchestest.Header, document.ErrLimit},
		{"another schema", all, func(*batches.Encoder) {}, bad(func(h *batches.Header) { h.Schema[0] = 1 }), batches.ErrSchema},
		{"no device", all, func(*batches.Encoder) {}, bad(func(h *batches.Header) { h.ID.Device = "" }), document.ErrMalformed},
		{"no sequence", all, func(*batches.Encoder) {}, bad(func(h *batches.Header) { h.ID.Seq = 0 }), document.ErrMalformed},
		{"evicted backwards", all, func(*batches.Encoder) {}, bad(func(h *batches.Header) { h.Evicted = []protocol.SeqRange{{From: 2, To: 1}} }), document.ErrMalformed},
		{"evicted too much", all, func(*batches.Encoder) {}, bad(func(h *batches.Header) { h.Evicted = make([]protocol.SeqRange, batches.MaxEvicted+1) }), document.ErrLimit},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := batches.NewEncoder(test.schema, protocol.SchemaID{9})
			test.add(e)
			if _, err := e.Encode(test.header, nil); !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v", err, test.want)
			}
			e.Reset()
			if _, err := e.Encode(batchestest.Header, nil); err != nil {
				t.Errorf("got %v after Reset", err)
			}
		})
	}
}
