package campaign

import "slices"

// state is what a rule remembers between rows. Collector.Run owns it.
type state struct {
	// On change: the last kept raw value of each global signal of the schema.
	last  []int64
	known []bool

	// Grid: the open interval ends at next (µs); each group's last row in it.
	next   int64
	groups []lastRow
	newest []int32 // schema signal → group that saw it last in this interval
}

// lastRow is the newest row of a group in the open interval of a grid.
type lastRow struct {
	seen bool
	raw  []int64
}

func newState(r *Rule) *state {
	return &state{
		last: make([]int64, len(r.Schema.Signals)), known: make([]bool, len(r.Schema.Signals)),
		groups: make([]lastRow, len(r.layouts)), newest: make([]int32, len(r.Schema.Signals)),
	}
}

// grow makes room for groups that a longer schema added; signals never change.
func (s *state) grow(groups int) {
	for len(s.groups) < groups {
		s.groups = append(s.groups, lastRow{})
	}
}

// changed appends the values that differ from the last kept ones.
func (s *state) changed(r *Rule, rule, group int32, t int64, raw []int64, b *Block) {
	offset, bits := len(b.Raw), len(b.Present)
	b.add(rule, group, t, raw, r.take[group])
	values := b.Raw[offset:]
	b.Present = appendZeros(b.Present, (len(values)+63)/64)
	present, count := b.Present[bits:], 0
	for i, v := range values {
		if sig := r.Schema.Groups[group][i]; !s.known[sig] || s.last[sig] != v {
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

// grid keeps the row as its group's newest; a row behind the interval's end closes the interval first.
func (s *state) grid(r *Rule, rule, group int32, t int64, raw []int64, b *Block) {
	if t >= s.next || t < s.next-2*r.interval { // also when the clock was set back
		s.flush(r, rule, b)
		s.next = t - t%r.interval + r.interval
	}
	g := &s.groups[group]
	g.seen = true
	g.raw = g.raw[:0]
	if take := r.take[group]; take == nil {
		g.raw = append(g.raw, raw...)
	} else {
		for _, i := range take {
			g.raw = append(g.raw, raw[i])
		}
	}
	for _, sig := range r.Schema.Groups[group] {
		s.newest[sig] = group
	}
}

// flush appends the rows of the open interval, stamped with its end. A signal
// that several groups carry (a multiplexor) is present only in the newest.
func (s *state) flush(r *Rule, rule int32, b *Block) {
	for g := range s.groups {
		if !s.groups[g].seen {
			continue
		}
		s.groups[g].seen = false
		b.add(rule, int32(g), s.next, s.groups[g].raw, nil)
		row := &b.Rows[len(b.Rows)-1]
		stale := func(sig uint32) bool { return s.newest[sig] != int32(g) }
		if !slices.ContainsFunc(r.Schema.Groups[g], stale) {
			continue
		}
		row.Bits = int32(len(b.Present))
		b.Present = appendZeros(b.Present, (int(row.Count)+63)/64)
		count := 0
		for i, sig := range r.Schema.Groups[g] {
			if !stale(sig) {
				b.Present[int(row.Bits)+i/64] |= 1 << (i % 64)
				count++
			}
		}
		if count == 0 {
			b.Rows = b.Rows[:len(b.Rows)-1]
		}
	}
}

func appendZeros(s []uint64, n int) []uint64 {
	for range n {
		s = append(s, 0)
	}
	return s
}
