package batch

import (
	"math"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// fits says whether an encoded batch may be sent: it is a message's size, and claims no
// more than the cloud takes from one batch.
func fits(enc *codec.Encoder, schema *codec.Schema, payload []byte) bool {
	claim := enc.Claim()
	return len(payload) <= maxPayload && claim.Check(schema.Tick, len(payload)) == nil
}

// split makes two or more records of a batch that does not fit, or whose rows are
// far apart, by reading its payload again. It happens when data that compressed well
// turns into noise within one batch, when values that hardly change come in large
// numbers or faster than any bus, or when the clock was set, and is in no hurry.
func (s *Sealer) split(c *commitment, o *open, h codec.Header, payload []byte) {
	b, err := codec.Decode(payload, o.rule.Schema)
	if err != nil {
		s.cfg.Log.Error("batch cannot be split; discarded", "rule", o.rule.ID, "samples", o.enc.Samples(), "error", err)
		s.stats.discarded.Add(uint64(o.enc.Samples()))
		return
	}
	for near, rest := nearby(b.Rows); len(near) > 0; near, rest = nearby(rest) {
		s.place(c, o, &h, near)
	}
}

// place makes a record of rows, or more. The first one has h; then h becomes that of the next.
func (s *Sealer) place(c *commitment, o *open, h *codec.Header, rows []codec.GroupRows) {
	enc := codec.NewEncoder(o.rule.Schema, o.rule.Hash.ID())
	first, last := fill(enc, o.rule.Schema.Mode, rows)
	payload, err := enc.Encode(*h, nil)
	large := err == nil && !fits(enc, o.rule.Schema, payload)
	switch {
	case err != nil || large && count(rows) < 2:
		s.cfg.Log.Error("row cannot be encoded; discarded", "rule", o.rule.ID, "error", err)
		s.stats.discarded.Add(uint64(enc.Samples()))
	case large:
		front, back := divide(rows)
		s.place(c, o, h, front)
		s.place(c, o, h, back)
	default:
		c.take(h.ID.Seq)
		c.sealed = append(c.sealed, s.record(o, *h, payload, enc.Samples(), first, last))
		*h = s.header(o, c.next)
	}
}

// nearby gives the rows that are not far from the first one, and the rest.
func nearby(rows []codec.GroupRows) (near, rest []codec.GroupRows) {
	for i := range rows {
		g := &rows[i]
		for from, to := 0, 0; from < len(g.Time); from = to {
			far := apart(g.Time[from], rows[0].Time[0])
			for to = from + 1; to < len(g.Time) && apart(g.Time[to], rows[0].Time[0]) == far; to++ {
			}
			if far {
				rest = append(rest, part(g, from, to))
			} else {
				near = append(near, part(g, from, to))
			}
		}
	}
	return near, rest
}

// divide cuts each group in the middle; single rows go in turn to either side.
func divide(rows []codec.GroupRows) (front, back []codec.GroupRows) {
	turn := 0
	for i := range rows {
		n := len(rows[i].Time)
		middle := (n + turn) / 2
		turn = (turn + n) % 2
		if middle > 0 {
			front = append(front, part(&rows[i], 0, middle))
		}
		if middle < n {
			back = append(back, part(&rows[i], middle, n))
		}
	}
	return front, back
}

// part gives the rows from..to of g.
func part(g *codec.GroupRows, from, to int) codec.GroupRows {
	p := codec.GroupRows{Group: g.Group, Time: g.Time[from:to]}
	for _, column := range g.Columns {
		p.Columns = append(p.Columns, column[from:to])
	}
	if g.Present == nil {
		return p
	}
	p.Present = make([][]uint64, len(g.Columns))
	for c := range g.Columns {
		bits := make([]uint64, (to-from+63)/64)
		for row := range to - from {
			if g.Has(c, from+row) {
				bits[row/64] |= 1 << (row % 64)
			}
		}
		p.Present[c] = bits
	}
	return p
}

func count(rows []codec.GroupRows) (n int) {
	for i := range rows {
		n += len(rows[i].Time)
	}
	return n
}

// fill adds rows to an encoder and gives the times of the first and the last in source time.
func fill(enc *codec.Encoder, mode protocol.Mode, rows []codec.GroupRows) (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	for i := range rows {
		g := &rows[i]
		raw, bits := make([]int64, len(g.Columns)), make([]uint64, (len(g.Columns)+63)/64)
		for row, t := range g.Time {
			clear(bits)
			for c := range g.Columns {
				raw[c] = g.Columns[c][row]
				if g.Has(c, row) {
					bits[c/64] |= 1 << (c % 64)
				}
			}
			if g.Present == nil && mode != protocol.ModeOnChange {
				enc.Add(g.Group, t, raw)
			} else {
				enc.AddChanged(g.Group, t, raw, bits)
			}
			first, last = min(first, t), max(last, t)
		}
	}
	return first, last
}
