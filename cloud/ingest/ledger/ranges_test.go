package ledger_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"telltale.dev/cloud/ingest/ledger"
)

func TestRanges(t *testing.T) {
	const top = ^uint64(0)
	tests := []struct {
		name string
		do   func(r *ledger.Ranges)
		want []ledger.Span
	}{
		{"empty", func(*ledger.Ranges) {}, nil},
		{"in order", func(r *ledger.Ranges) { add(r, 1, 1, 2, 2, 3, 3) }, spans(1, 3)},
		{"gap", func(r *ledger.Ranges) { add(r, 1, 2, 5, 6) }, spans(1, 2, 5, 6)},
		{"gap closed", func(r *ledger.Ranges) { add(r, 1, 2, 5, 6, 3, 4) }, spans(1, 6)},
		{"before all", func(r *ledger.Ranges) { add(r, 5, 6, 1, 2) }, spans(1, 2, 5, 6)},
		{"swallows", func(r *ledger.Ranges) { add(r, 2, 3, 6, 7, 9, 9, 1, 8) }, spans(1, 9)},
		{"twice", func(r *ledger.Ranges) { add(r, 4, 8, 5, 6) }, spans(4, 8)},
		{"zero and backwards ignored", func(r *ledger.Ranges) { add(r, 0, 3, 5, 4) }, nil},
		{"to the top", func(r *ledger.Ranges) { add(r, 3, top, top, top, 1, 1) }, spans(1, 1, 3, top)},
		{"remove splits", func(r *ledger.Ranges) { add(r, 1, 9); r.Remove(ledger.Span{From: 4, To: 5}) }, spans(1, 3, 6, 9)},
		{"remove over many", func(r *ledger.Ranges) { add(r, 1, 2, 4, 5, 7, 9); r.Remove(ledger.Span{From: 2, To: 7}) }, spans(1, 1, 8, 9)},
		{"remove absent", func(r *ledger.Ranges) { add(r, 1, 2); r.Remove(ledger.Span{From: 5, To: 9}) }, spans(1, 2)},
		{"remove top", func(r *ledger.Ranges) { add(r, 1, top); r.Remove(ledger.Span{From: 3, To: top}) }, spans(1, 2)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r ledger.Ranges
			tt.do(&r)
			if got := r.Spans(); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRangesMissing(t *testing.T) {
	tests := []struct {
		name string
		in   []ledger.Span
		from uint64
		want []ledger.Span
	}{
		{"empty", nil, 1, nil},
		{"none", spans(1, 4), 1, nil},
		{"at the start", spans(3, 4), 1, spans(1, 2)},
		{"between", spans(1, 2, 5, 6, 9, 9), 1, spans(3, 4, 7, 8)},
		{"from within", spans(1, 2, 5, 6, 9, 9), 6, spans(7, 8)},
		{"to the top", spans(2, ^uint64(0)), 1, spans(1, 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r ledger.Ranges
			for _, s := range tt.in {
				r.Add(s)
			}
			missing := r.Missing(tt.from)
			if got := missing.Spans(); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func add(r *ledger.Ranges, ends ...uint64) {
	for i := 0; i < len(ends); i += 2 {
		r.Add(ledger.Span{From: ends[i], To: ends[i+1]})
	}
}

func spans(ends ...uint64) (out []ledger.Span) {
	for i := 0; i < len(ends); i += 2 {
		out = append(out, ledger.Span{From: ends[i], To: ends[i+1]})
	}
	return out
}

// TestRangesOfMany: sets joined and taken out as a whole are what they are run by run.
func TestRangesOfMany(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func(n int) (r ledger.Ranges) {
		for range n {
			from := 1 + random.Uint64N(400)
			r.Add(ledger.Span{From: from, To: from + random.Uint64N(6)})
		}
		return r
	}
	for range 500 {
		a, b := some(random.IntN(60)), some(random.IntN(60))
		if random.IntN(8) == 0 {
			b.Add(ledger.Span{From: 300, To: ^uint64(0)})
		}
		joined, rest := a.Clone(), a.Clone()
		joined.AddAll(b)
		rest.RemoveAll(b)
		oneByOne, left := a.Clone(), a.Clone()
		for _, s := range b.Spans() {
			oneByOne.Add(s)
			left.Remove(s)
		}
		if !slices.Equal(joined.Spans(), oneByOne.Spans()) {
			t.Fatalf("%v and %v: got %v, want %v", a.Spans(), b.Spans(), joined.Spans(), oneByOne.Spans())
		}
		if !slices.Equal(rest.Spans(), left.Spans()) {
			t.Fatalf("%v without %v: got %v, want %v", a.Spans(), b.Spans(), rest.Spans(), left.Spans())
		}
	}
}

// TestRangesAtRandom: a large set says the same however its members came, at each moment.
func TestRangesAtRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const members = 40_000
	var set ledger.Ranges
	has := map[uint64]bool{}
	for n := range members {
		seq := 1 + random.Uint64N(64*8*members)
		if n%8 == 0 {
			seq = 1 + random.Uint64N(64*100) // a part that becomes full
		}
		if n%16 == 3 {
			set.Remove(ledger.Span{From: seq, To: seq})
			delete(has, seq)
			continue
		}
		set.Add(ledger.Span{From: seq, To: seq})
		has[seq] = true
		if other := 1 + random.Uint64N(64*100); !set.Has(seq) || set.Has(other) != has[other] {
			t.Fatalf("after %d: %d is not in it, or %d is wrongly", n, seq, other)
		}
	}
	sorted := slices.Sorted(maps.Keys(has))
	var want ledger.Ranges
	for _, seq := range sorted {
		want.Add(ledger.Span{From: seq, To: seq})
	}
	clone := set.Clone()
	if !slices.Equal(clone.Spans(), want.Spans()) || set.Count() != uint64(len(sorted)) || set.Max() != sorted[len(sorted)-1] || set.Min() != sorted[0] {
		t.Fatalf("got %d members up to %d, want %d up to %d", set.Count(), set.Max(), len(sorted), sorted[len(sorted)-1])
	}
	for range 1000 {
		at := random.Uint64N(64 * 8 * members)
		i, found := slices.BinarySearch(sorted, at)
		next, previous := uint64(0), uint64(0)
		if i < len(sorted) {
			next = sorted[i]
		}
		if found {
			previous = at
		} else if i > 0 {
			previous = sorted[i-1]
		}
		if set.Next(at) != next || set.Previous(at) != previous {
			t.Fatalf("at %d: got %d and %d, want %d and %d", at, set.Next(at), set.Previous(at), next, previous)
		}
	}
	read, rest, err := ledger.ReadRanges(set.AppendTo(nil))
	if err != nil || len(rest) > 0 || !slices.Equal(read.Spans(), want.Spans()) {
		t.Errorf("what was written is read otherwise: %v", err)
	}
}

// TestRangesByValue: a set stays as it is when it is put into another one, taken out of it, or counted in part, also
// while words of it that came late are not among the others yet.
func TestRangesByValue(t *testing.T) {
	const members = 3000
	for name, use := range map[string]func(other, set *ledger.Ranges){
		"added":   func(other, set *ledger.Ranges) { other.AddAll(*set) },
		"removed": func(other, set *ledger.Ranges) { other.RemoveAll(*set) },
		"counted": func(_, set *ledger.Ranges) { set.Within(ledger.Span{From: 1, To: 1 << 20}) },
	} {
		t.Run(name, func(t *testing.T) {
			var set, other ledger.Ranges
			for n := range uint64(members) { // a word for each, one behind the other: the memory has room to grow
				add(&set, 1+128*n, 1+128*n)
			}
			for n := range uint64(100) { // far before the end, between the others
				add(&set, 65+128*n, 65+128*n)
			}
			clone := set.Clone()
			want := clone.Spans()
			add(&other, 1, 2)
			copied := set // a copy that shares the memory
			use(&other, &copied)
			if got := set.Spans(); !slices.Equal(got, want) {
				t.Errorf("got %d runs up to %d, want %d up to %d", len(got), set.Max(), len(want), clone.Max())
			}
		})
	}
}
