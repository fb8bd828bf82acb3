package buffer

import (
	"slices"

	"telltale.dev/protocol"
)

// ranges is a set of sequence numbers: per boot in rising order, disjoint and
// not adjacent; boots in the order in which they came. Values are never
// changed in place, so that copies may share them.
type ranges []protocol.SeqRange

// add returns the union of s and r.
func (s ranges) add(r protocol.SeqRange) ranges {
	if r.From > r.To || r.From == 0 {
		return s
	}
	out := make(ranges, 0, len(s)+1)
	at := -1 // where r goes: before the first later range of its boot, else after its last one
	for _, o := range s {
		if o.Boot != r.Boot {
			out = append(out, o)
			continue
		}
		if touches(o, r) {
			r.From, r.To = min(r.From, o.From), max(r.To, o.To)
			continue
		}
		if at < 0 && o.From > r.To {
			at = len(out)
		}
		out = append(out, o)
	}
	if at < 0 {
		at = len(out)
		for i, o := range out {
			if o.Boot == r.Boot {
				at = i + 1
			}
		}
	}
	return slices.Insert(out, at, r)
}

// touches says whether a and b overlap or are adjacent.
func touches(a, b protocol.SeqRange) bool {
	return a.From <= b.To+1 && b.From <= a.To+1
}

// remove returns s without the sequences of r.
func (s ranges) remove(r protocol.SeqRange) ranges {
	out := make(ranges, 0, len(s)+1)
	for _, o := range s {
		if o.Boot != r.Boot || o.To < r.From || r.To < o.From {
			out = append(out, o)
			continue
		}
		if o.From < r.From {
			out = append(out, protocol.SeqRange{Boot: o.Boot, From: o.From, To: r.From - 1})
		}
		if r.To < o.To {
			out = append(out, protocol.SeqRange{Boot: o.Boot, From: r.To + 1, To: o.To})
		}
	}
	return out
}

// bits is a set of small numbers.
type bits []uint64

func (s bits) has(i int) bool { return i/64 < len(s) && s[i/64]>>(i%64)&1 == 1 }

// union gives a set of its own with what is in s or o.
func (s bits) union(o bits) bits {
	all := slices.Clone(s)
	for i, w := range o {
		for i >= len(all) {
			all = append(all, 0)
		}
		all[i] |= w
	}
	return all
}

// with adds i and returns the set, which may have moved.
func (s bits) with(i int) bits {
	for i/64 >= len(s) {
		s = append(s, 0)
	}
	s[i/64] |= 1 << (i % 64)
	return s
}
