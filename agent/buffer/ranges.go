package buffer

import (
	"cmp"
	"slices"

	"telltale.dev/protocol"
)

// ranges is a set of sequence numbers: per boot in rising order, disjoint and
// not adjacent; boots in the order in which they came. Values are never
// changed in place, so that copies may share them.
type ranges []protocol.SeqRange

// add returns the union of s and all in list, in one go: there may be many thousands on both sides.
func (s ranges) add(list []protocol.SeqRange) ranges {
	return s.each(list, func(old, changes []protocol.SeqRange, out ranges) ranges {
		for len(old)+len(changes) > 0 {
			from := &old
			if len(old) == 0 || len(changes) > 0 && changes[0].From < old[0].From {
				from = &changes
			}
			r := (*from)[0]
			*from = (*from)[1:]
			if last := len(out) - 1; last >= 0 && out[last].Boot == r.Boot && touches(out[last], r) {
				out[last].To = max(out[last].To, r.To)
				continue
			}
			out = append(out, r)
		}
		return out
	})
}

// remove returns s without the sequences in list, in one go.
func (s ranges) remove(list []protocol.SeqRange) ranges {
	return s.each(list, func(old, changes []protocol.SeqRange, out ranges) ranges {
		for _, r := range old {
			for len(changes) > 0 && changes[0].To < r.From {
				changes = changes[1:]
			}
			for _, c := range changes {
				if c.From > r.To || r.From > r.To {
					break
				}
				if c.From > r.From {
					out = append(out, protocol.SeqRange{Boot: r.Boot, From: r.From, To: c.From - 1})
				}
				if c.To >= r.To {
					r.From, r.To = 1, 0 // nothing is left
					break
				}
				r.From = max(r.From, c.To+1)
			}
			if r.From <= r.To {
				out = append(out, r)
			}
		}
		return out
	})
}

// each gives change what s and list have of one boot after another, both in rising order; what it appends is the result.
func (s ranges) each(list []protocol.SeqRange, change func(old, changes []protocol.SeqRange, out ranges) ranges) ranges {
	changes := map[protocol.BootID][]protocol.SeqRange{}
	var boots []protocol.BootID // of list, in the order in which they came
	for _, r := range list {
		if r.From > r.To || r.From == 0 {
			continue
		}
		if changes[r.Boot] == nil {
			boots = append(boots, r.Boot)
		}
		changes[r.Boot] = append(changes[r.Boot], r)
	}
	for _, c := range changes {
		slices.SortFunc(c, func(x, y protocol.SeqRange) int { return cmp.Compare(x.From, y.From) })
	}
	out := make(ranges, 0, len(s)+len(list))
	for len(s) > 0 {
		boot, n := s[0].Boot, 1
		for n < len(s) && s[n].Boot == boot {
			n++
		}
		out = change(s[:n], changes[boot], out)
		delete(changes, boot)
		s = s[n:]
	}
	for _, boot := range boots {
		if c := changes[boot]; c != nil {
			out = change(nil, c, out)
		}
	}
	return out
}

// touches says whether b, which does not begin before a, overlaps it or is adjacent.
func touches(a, b protocol.SeqRange) bool { return b.From <= a.To || b.From == a.To+1 }

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
