package collect

import (
	"slices"

	"telltale.dev/agent/campaign"
)

// state is what a capture remembers between rows. Collector.Run owns it.
type state struct {
	// On change: the last kept raw value of each signal of the schema.
	last  []int64
	known []bool

	// Grid: each source of the catalogue has its own interval, since the rows of
	// different buses arrive in blocks that overlap in time.
	intervals []interval
	groups    []lastRow
	newest    []int32 // signal of the schema → group that saw it last
}

// interval is the open interval of a grid on one source.
type interval struct {
	end    int64   // µs, exclusive
	newest int64   // time of the newest row in it
	seen   []int32 // groups that have a row in it; empty: nothing is open
}

// lastRow is the newest row of a group in the open interval.
type lastRow struct {
	seen bool
	raw  []int64
}

func newState(r *campaign.Rule, sources int) *state {
	signals := len(r.Format.Schema.Signals)
	return &state{
		last: make([]int64, signals), known: make([]bool, signals),
		intervals: make([]interval, sources), groups: make([]lastRow, len(r.Sources)),
		newest: make([]int32, signals),
	}
}

// grow makes room for the groups that a longer schema added; signals never
// change. A group that shared its signals with none may share them now.
func (s *state) grow(from, to *campaign.Rule) {
	for g := range s.groups {
		if s.groups[g].seen && !from.Shared[g] {
			for _, sig := range from.Format.Schema.Groups[g] {
				s.newest[sig] = int32(g)
			}
		}
	}
	for len(s.groups) < len(to.Sources) {
		s.groups = append(s.groups, lastRow{})
	}
}

// changed appends the values that differ from the last kept ones.
func (s *state) changed(r *campaign.Rule, capture, group int32, t int64, raw []int64, b *Block) {
	offset, bits := len(b.Raw), len(b.Present)
	b.add(capture, group, t, raw, r.Take[group])
	values := b.Raw[offset:]
	b.Present = appendZeros(b.Present, (len(values)+63)/64)
	present, count := b.Present[bits:], 0
	members := r.Format.Schema.Groups[group]
	for i, v := range values {
		if sig := members[i]; !s.known[sig] || s.last[sig] != v {
			s.known[sig], s.last[sig] = true, v
			present[i/64] |= 1 << (i % 64)
			count++
		}
	}
	if count == 0 {
		b.Rows, b.Raw, b.Present = b.Rows[:len(b.Rows)-1], b.Raw[:offset], b.Present[:bits]
		return
	}
	b.Rows[len(b.Rows)-1].Bits = int32(bits)
}

// grid keeps the row as its group's newest; a row behind the interval's end
// closes the interval first, and so does one before its start by more than an
// interval: then the clock was set back.
func (s *state) grid(r *campaign.Rule, capture, group int32, t int64, raw []int64, b *Block) {
	v := &s.intervals[r.Sources[group]]
	switch {
	case t >= v.end:
		s.close(r, capture, v, true, b)
	case t < v.end-2*r.Interval:
		s.close(r, capture, v, false, b)
	}
	if len(v.seen) == 0 {
		v.end, v.newest = floor(t, r.Interval)+r.Interval, t
	}
	v.newest = max(v.newest, t)
	g := &s.groups[group]
	if !g.seen {
		g.seen = true
		v.seen = append(v.seen, group)
	}
	g.raw = appendTaken(g.raw[:0], raw, r.Take[group])
	if r.Shared[group] {
		for _, sig := range r.Format.Schema.Groups[group] {
			s.newest[sig] = group
		}
	}
}

// floor cuts t to a multiple of step, downwards.
func floor(t, step int64) int64 {
	rest := t % step
	if rest < 0 {
		rest += step
	}
	return t - rest
}

// close ends an interval that is open: its rows are appended, stamped with its
// end, or with its newest row when it is cut short. A signal that several
// groups carry (a multiplexor) has a value only in the newest of them.
func (s *state) close(r *campaign.Rule, capture int32, v *interval, over bool, b *Block) {
	stamp := v.newest
	if over {
		stamp = v.end
	}
	for _, group := range v.seen {
		g := &s.groups[group]
		g.seen = false
		b.add(capture, group, stamp, g.raw, nil)
		if r.Shared[group] {
			s.mask(r, group, b)
		}
	}
	v.seen = v.seen[:0]
}

// mask leaves the signals out of the last row of b that another group saw
// later, and the row itself when none is left.
func (s *state) mask(r *campaign.Rule, group int32, b *Block) {
	members := r.Format.Schema.Groups[group]
	current := func(sig uint32) bool { return s.newest[sig] == group }
	last := len(b.Rows) - 1
	row := &b.Rows[last]
	if !slices.ContainsFunc(members, current) {
		b.Rows, b.Raw = b.Rows[:last], b.Raw[:row.Offset]
		return
	}
	row.Bits = int32(len(b.Present))
	b.Present = appendZeros(b.Present, (len(members)+63)/64)
	for i, sig := range members {
		if current(sig) {
			b.Present[int(row.Bits)+i/64] |= 1 << (i % 64)
		}
	}
}

// expire closes the intervals that were over by the given time (µs), by whatever clock.
func (s *state) expire(r *campaign.Rule, capture int32, now int64, b *Block) {
	for i := range s.intervals {
		if v := &s.intervals[i]; len(v.seen) > 0 && now >= v.end {
			s.close(r, capture, v, true, b)
		}
	}
}

// flush cuts all open intervals short.
func (s *state) flush(r *campaign.Rule, capture int32, b *Block) {
	for i := range s.intervals {
		s.close(r, capture, &s.intervals[i], false, b)
	}
}

// open says whether an interval waits to be closed.
func (s *state) open() bool {
	return slices.ContainsFunc(s.intervals, func(v interval) bool { return len(v.seen) > 0 })
}

func appendZeros(s []uint64, n int) []uint64 {
	for range n {
		s = append(s, 0)
	}
	return s
}

// appendTaken appends the values at the given positions; nil: all.
func appendTaken(dst, raw []int64, take []int) []int64 {
	if take == nil {
		return append(dst, raw...)
	}
	for _, i := range take {
		dst = append(dst, raw[i])
	}
	return dst
}
