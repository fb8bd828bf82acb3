package ledger

import (
	"slices"
	"sort"
)

// Span is a run of sequence numbers, both ends included. From is at least 1.
type Span struct{ From, To uint64 }

// Len is the number of sequences in s.
func (s Span) Len() uint64 { return s.To - s.From + 1 }

// Ranges is a set of sequence numbers kept as sorted runs that neither overlap
// nor touch. The zero value is the empty set. Sequence 0 is never a member.
//
// A device that sends without loss costs one run, however long it drives; a
// device whose messages alternate between the lanes costs one run a message,
// which the Ledger bounds.
type Ranges struct{ spans []Span }

// Spans gives the runs in order. The slice belongs to the set.
func (r *Ranges) Spans() []Span { return r.spans }

// Count is the number of sequences in the set.
func (r *Ranges) Count() (n uint64) {
	for _, s := range r.spans {
		n += s.Len()
	}
	return n
}

// Min is the lowest sequence in the set, 0 when it is empty.
func (r *Ranges) Min() uint64 {
	if len(r.spans) == 0 {
		return 0
	}
	return r.spans[0].From
}

// Empty says whether nothing is in the set.
func (r *Ranges) Empty() bool { return len(r.spans) == 0 }

// Within is the number of members in s.
func (r *Ranges) Within(s Span) (n uint64) {
	for i := r.at(s.From); i < len(r.spans) && r.spans[i].From <= s.To; i++ {
		n += min(r.spans[i].To, s.To) - max(r.spans[i].From, s.From) + 1
	}
	return n
}

// Max is the highest sequence in the set, 0 when it is empty.
func (r *Ranges) Max() uint64 {
	if len(r.spans) == 0 {
		return 0
	}
	return r.spans[len(r.spans)-1].To
}

// Has says whether seq is in the set.
func (r *Ranges) Has(seq uint64) bool {
	i := r.at(seq)
	return i < len(r.spans) && r.spans[i].From <= seq
}

// at is the index of the first run that ends at or after seq.
func (r *Ranges) at(seq uint64) int {
	n := len(r.spans)
	if n == 0 || r.spans[n-1].To < seq { // nearly always: in order
		return n
	}
	return sort.Search(n, func(i int) bool { return r.spans[i].To >= seq })
}

// Add puts s into the set. A span from 0 or one that ends before it starts is ignored.
func (r *Ranges) Add(s Span) {
	if s.From == 0 || s.To < s.From {
		return
	}
	i := r.at(s.From - 1) // the first run that s overlaps or touches
	j := i
	for j < len(r.spans) && (s.To == ^uint64(0) || r.spans[j].From <= s.To+1) {
		s.From = min(s.From, r.spans[j].From)
		s.To = max(s.To, r.spans[j].To)
		j++
	}
	if j == i+1 { // nearly always: the last run grows
		r.spans[i] = s
		return
	}
	r.spans = slices.Replace(r.spans, i, j, s)
}

// Remove takes s out of the set.
func (r *Ranges) Remove(s Span) {
	if s.From == 0 || s.To < s.From {
		return
	}
	i := r.at(s.From)
	var rest [2]Span
	keep, j := rest[:0], i
	for ; j < len(r.spans) && r.spans[j].From <= s.To; j++ {
		if r.spans[j].From < s.From {
			keep = append(keep, Span{r.spans[j].From, s.From - 1})
		}
		if r.spans[j].To > s.To {
			keep = append(keep, Span{s.To + 1, r.spans[j].To})
		}
	}
	if i != j {
		r.spans = slices.Replace(r.spans, i, j, keep...)
	}
}

// few is how many runs are put in or taken out one by one; more are joined in one pass.
const few = 4

// AddAll puts all of other into the set, in time proportional to the runs of both.
func (r *Ranges) AddAll(other Ranges) {
	if len(other.spans) <= few {
		for _, s := range other.spans {
			r.Add(s)
		}
		return
	}
	out := Ranges{spans: make([]Span, 0, len(r.spans)+len(other.spans))}
	x, y := r.spans, other.spans
	for len(x)+len(y) > 0 {
		if len(y) == 0 || len(x) > 0 && x[0].From <= y[0].From {
			out.extend(x[0])
			x = x[1:]
		} else {
			out.extend(y[0])
			y = y[1:]
		}
	}
	*r = out
}

// extend is Add for a span that does not begin before the set's last run.
func (r *Ranges) extend(s Span) {
	if n := len(r.spans); n > 0 {
		if last := &r.spans[n-1]; last.To == ^uint64(0) || s.From <= last.To+1 {
			last.To = max(last.To, s.To)
			return
		}
	}
	r.spans = append(r.spans, s)
}

// RemoveAll takes all of other out of the set, in time proportional to the runs of both.
func (r *Ranges) RemoveAll(other Ranges) {
	if len(other.spans) <= few {
		for _, s := range other.spans {
			r.Remove(s)
		}
		return
	}
	var out []Span
	y := other.spans
	for _, s := range r.spans {
		for len(y) > 0 && y[0].To < s.From {
			y = y[1:]
		}
		i := 0
		for ; i < len(y) && y[i].From <= s.To; i++ {
			if y[i].From > s.From {
				out = append(out, Span{s.From, y[i].From - 1})
			}
			if y[i].To >= s.To { // nothing of s is left, and the run may reach into the next
				break
			}
			s.From = y[i].To + 1
		}
		if i == len(y) || y[i].From > s.To {
			out = append(out, s)
		}
		y = y[i:]
	}
	r.spans = out
}

// Clone is a copy that shares nothing with r.
func (r *Ranges) Clone() Ranges { return Ranges{spans: slices.Clone(r.spans)} }

// Missing is what lies between from and the set's highest member but is not in it.
func (r *Ranges) Missing(from uint64) (gaps Ranges) {
	next := max(from, 1)
	for _, s := range r.spans {
		if s.From > next {
			gaps.spans = append(gaps.spans, Span{next, s.From - 1})
		}
		if s.To == ^uint64(0) {
			break
		}
		next = max(next, s.To+1)
	}
	return gaps
}

// forget drops the older half of the runs and returns the highest sequence it dropped.
func (r *Ranges) forget() (upTo uint64) {
	n := (len(r.spans) + 1) / 2
	if n > 0 {
		upTo = r.spans[n-1].To
	}
	r.spans = slices.Delete(r.spans, 0, n)
	return upTo
}
