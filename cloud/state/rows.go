package state

import (
	"math/bits"
	"slices"
	"sort"

	"telltale.dev/protocol/batches"
)

// rows are those rows of a group whose time is plausible, in the order of time,
// seen through one column at a time.
type rows struct {
	times   []int64  // ascending
	first   int      // row of times[0] when the group is in order
	order   []int32  // row of each time when it is not; else empty
	present []uint64 // of the column; nil: a value in each row

	sorted []int64 // memory for times when the group is not in order
}

// set stands before the first column of a group. Rows outside of 0 to limit µs are left out.
func (r *rows) set(times []int64, limit int64) {
	r.order = r.order[:0]
	if slices.IsSorted(times) {
		from, _ := slices.BinarySearch(times, 0)
		to, _ := slices.BinarySearch(times, limit+1)
		r.times, r.first = times[from:max(from, to)], from
		return
	}
	for i, t := range times {
		if t >= 0 && t <= limit {
			r.order = append(r.order, int32(i))
		}
	}
	slices.SortStableFunc(r.order, func(a, b int32) int {
		if times[a] < times[b] {
			return -1
		} else if times[a] > times[b] {
			return 1
		}
		return 0
	})
	r.sorted = r.sorted[:0]
	for _, row := range r.order {
		r.sorted = append(r.sorted, times[row])
	}
	r.times = r.sorted
}

// column moves to column c and gives the last place where it has a value, -1 when there is none.
func (r *rows) column(g *batches.GroupRows, c int) (last int) {
	if r.present = nil; g.Present != nil {
		r.present = g.Present[c]
	}
	if len(r.times) == 0 {
		return -1
	}
	return r.last()
}

// row is the row of the group that stands at i.
func (r *rows) row(i int) int {
	if len(r.order) > 0 {
		return int(r.order[i])
	}
	return r.first + i
}

// search gives the first place from i on whose time is at least t.
func (r *rows) search(i int, t int64) int {
	if i >= len(r.times) || r.times[i] >= t { // the usual case of slow signals
		return i
	}
	return i + sort.Search(len(r.times)-i, func(n int) bool { return r.times[i+n] >= t })
}

// next gives the first place from i on where the column has a value, len(times) when there is none.
func (r *rows) next(i int) int {
	if r.present == nil || i >= len(r.times) {
		return i
	}
	if len(r.order) > 0 {
		for i < len(r.times) && !bit(r.present, r.row(i)) {
			i++
		}
		return i
	}
	row := r.first + i
	word := r.present[row/64] >> (row % 64) << (row % 64)
	for w := row / 64; ; word = r.present[w] {
		if word != 0 {
			return min(w*64+bits.TrailingZeros64(word)-r.first, len(r.times))
		}
		if w++; w == len(r.present) {
			return len(r.times)
		}
	}
}

// last gives the last place where the column has a value, -1 when there is none. There are rows.
func (r *rows) last() int {
	i := len(r.times) - 1
	if r.present == nil {
		return i
	}
	if len(r.order) > 0 {
		for i >= 0 && !bit(r.present, r.row(i)) {
			i--
		}
		return i
	}
	row := r.first + i
	word := r.present[row/64] << (63 - row%64) >> (63 - row%64)
	for w := row / 64; ; word = r.present[w] {
		if word != 0 {
			return max(w*64+63-bits.LeadingZeros64(word)-r.first, -1)
		}
		if w--; w < 0 {
			return -1
		}
	}
}

func bit(words []uint64, i int) bool { return words[i/64]>>(i%64)&1 == 1 }
