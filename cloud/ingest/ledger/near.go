package ledger

import "math/bits"

// Next is the lowest member from a sequence on, 0 when there is none.
func (r *Ranges) Next(from uint64) uint64 {
	block, bit := blockOf(max(from, 1))
	words := r.list()
	i := find(words, block)
	if i < len(words) && words[i].block() <= block {
		if left := words[i].mask() & (allBits << bit); left != 0 {
			return block<<blockBits + uint64(bits.TrailingZeros64(left)) + 1
		}
		i++
	}
	rest := Ranges{words: words[i:]}
	return rest.Min()
}

// Previous is the highest member up to a sequence, 0 when there is none.
func (r *Ranges) Previous(to uint64) uint64 {
	if to == 0 {
		return 0
	}
	block, bit := blockOf(to)
	words := r.list()
	i := find(words, block)
	if i < len(words) && words[i].block() <= block {
		if left := words[i].mask() & (allBits >> (inBlock - bit)); left != 0 {
			return block<<blockBits + uint64(bits.Len64(left))
		}
	}
	rest := Ranges{words: words[:i]}
	return rest.Max()
}
