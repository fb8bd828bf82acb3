package buffer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// TestRanges compares sets of ranges with a table of their sequences.
func TestRanges(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	draw := func() (list []protocol.SeqRange) {
		for range random.IntN(12) {
			from := 1 + random.Uint64N(40)
			list = append(list, protocol.SeqRange{Boot: bootNumber(random.IntN(3)), From: from, To: from + random.Uint64N(6)})
		}
		return list
	}
	for range 2000 {
		add, remove := draw(), draw()
		var want [3][64]bool
		for _, change := range []struct {
			list []protocol.SeqRange
			in   bool
		}{{add, true}, {remove, false}} {
			for _, r := range change.list {
				for s := r.From; s <= r.To; s++ {
					want[r.Boot[7]-1][s] = change.in
				}
			}
		}
		var got [3][64]bool
		var before protocol.SeqRange
		for _, r := range buffer.Ranges(add, remove) {
			if r.Boot == before.Boot && r.From <= before.To+1 || r.From > r.To {
				t.Fatalf("%v after %v, want them rising, disjoint and not adjacent", r, before)
			}
			before = r
			for s := r.From; s <= r.To; s++ {
				got[r.Boot[7]-1][s] = true
			}
		}
		if got != want {
			t.Fatalf("add %v, remove %v: got %v, want %v", add, remove, got, want)
		}
	}
	most := protocol.SeqRange{Boot: boot1, From: math.MaxUint64 - 1, To: math.MaxUint64}
	if got := buffer.Ranges([]protocol.SeqRange{most, {Boot: boot1, From: 5, To: 5}, {Boot: boot1, From: 9, To: 8}, {Boot: boot1}}, nil); len(got) != 2 || got[1] != most {
		t.Errorf("got %v, want the highest sequences and one more", got)
	}
}

// TestManyRanges: ranges that wait to be declared are joined in one go, however many there are, and bounded.
func TestManyRanges(t *testing.T) {
	var add, remove []protocol.SeqRange
	for seq := uint64(1); seq <= 2*(buffer.MaxPending+100); seq += 2 {
		add = append(add, protocol.SeqRange{Boot: boot1, From: seq, To: seq})
	}
	last := add[len(add)-1]
	rand.Shuffle(len(add), func(i, j int) { add[i], add[j] = add[j], add[i] })
	remove = slices.Clone(add[:4096])
	var got []protocol.SeqRange
	if allocs := testing.AllocsPerRun(1, func() { got = buffer.Ranges(add, remove) }); allocs > 200 {
		t.Errorf("%.0f allocations, want few", allocs)
	}
	removed := map[protocol.SeqRange]bool{}
	for _, r := range remove {
		removed[r] = true
	}
	if n := len(got); n < buffer.MaxPending-len(remove) || n > buffer.MaxPending || !removed[last] && got[n-1] != last {
		t.Errorf("got %d ranges up to %v, want the newest %d but for what was removed", n, got[n-1], buffer.MaxPending)
	}
}
