package batch

import (
	"math"

	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
)

// fits says whether an encoded batch may be sent: it is a message's size, and claims no
// more than the cloud takes from one batch.
func fits(enc *batches.Encoder, schema *schemas.Schema, payload []byte) bool {
	claim := enc.Claim()
	return len(payload) <= maxPayload && claim.Check(schema.Tick, len(payload)) == nil
}

// run is consecutive rows of a group of an Encoder: from up to, but without, to.
type run struct{ group, from, to int }

// split makes two or more records of a batch that does not fit, or whose rows are
// far apart, by copying its rows. It happens when data that compressed well
// turns into noise within one batch, when values that hardly change come in large
// numbers or faster than any bus, or when the clock was set, and is in no hurry.
func (s *Sealer) split(c *commitment, o *open, h batches.Header) {
	var all []run
	for g := range o.enc.Groups() {
		if n := o.enc.GroupRows(g); n > 0 {
			all = append(all, run{g, 0, n})
		}
	}
	for near, rest := nearby(o.enc, all); len(near) > 0; near, rest = nearby(o.enc, rest) {
		s.place(c, o, &h, near)
	}
}

// place makes a record of rows, or more. The first one has h; then h becomes that of the next.
func (s *Sealer) place(c *commitment, o *open, h *batches.Header, rows []run) {
	enc := batches.NewEncoder(o.capture.Schema, o.capture.Hash.ID())
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, r := range rows {
		enc.Copy(o.enc, r.group, r.from, r.to)
		for row := r.from; row < r.to; row++ {
			t := o.enc.Time(r.group, row)
			first, last = min(first, t), max(last, t)
		}
	}
	payload, err := enc.Encode(*h, nil)
	large := err == nil && !fits(enc, o.capture.Schema, payload)
	switch {
	case err != nil || large && enc.Rows() < 2:
		s.cfg.Log.Error("row cannot be encoded; discarded", "rule", o.capture.Rule, "error", err)
		s.stats.discarded.Add(uint64(enc.Samples()))
	case large:
		front, back := divide(rows)
		s.place(c, o, h, front)
		s.place(c, o, h, back)
	default:
		c.seal(o, s.record(o, *h, payload, enc.Samples(), first, last))
		*h = s.header(o, c.next)
	}
}

// nearby gives the rows that are not far from the first one, and the rest.
func nearby(enc *batches.Encoder, rows []run) (near, rest []run) {
	for _, r := range rows {
		far := func(row int) bool {
			return apart(enc.Time(r.group, row), enc.Time(rows[0].group, rows[0].from))
		}
		for from, to := r.from, 0; from < r.to; from = to {
			is := far(from)
			for to = from + 1; to < r.to && far(to) == is; to++ {
			}
			if is {
				rest = append(rest, run{r.group, from, to})
			} else {
				near = append(near, run{r.group, from, to})
			}
		}
	}
	return near, rest
}

// divide cuts each run in the middle; single rows go in turn to either side.
func divide(rows []run) (front, back []run) {
	turn := 0
	for _, r := range rows {
		n := r.to - r.from
		middle := r.from + (n+turn)/2
		turn = (turn + n) % 2
		if middle > r.from {
			front = append(front, run{r.group, r.from, middle})
		}
		if middle < r.to {
			back = append(back, run{r.group, middle, r.to})
		}
	}
	return front, back
}
