package ledger

// Next is the lowest member from a sequence on, 0 when there is none.
func (r *Ranges) Next(from uint64) uint64 {
	i := r.at(from)
	if i == len(r.spans) {
		return 0
	}
	return max(from, r.spans[i].From)
}

// Previous is the highest member up to a sequence, 0 when there is none.
func (r *Ranges) Previous(to uint64) uint64 {
	i := r.at(to)
	switch {
	case i < len(r.spans) && r.spans[i].From <= to:
		return to
	case i > 0:
		return r.spans[i-1].To
	}
	return 0
}
