package ledger

import (
	"iter"
	"math/bits"
	"slices"
	"sort"
)

// Span is a run of sequence numbers, both ends included. From is at least 1.
type Span struct{ From, To uint64 }

// Len is the number of sequences in s.
func (s Span) Len() uint64 { return s.To - s.From + 1 }

// Ranges is a set of sequence numbers. The zero value is the empty set. Sequence 0 is never a member.
//
// The sequences are divided into blocks of 64: 1 to 64, 65 to 128, and so on. A block with some
// members is a word with a bit for each sequence; consecutive blocks with all of them are one
// word with their number; a block without members is nothing. So a device that sends without
// loss costs two words however long it drives, one whose messages alternate between the streams
// costs a word of 16 bytes for 64 sequences, and one that numbers at random a word for each message.
// The words depend on the members alone, not on how they came.
type Ranges struct {
	words []word // ordered
	late  []word // ordered, none of a block of words, none full: those that came far before the end, so that few are moved for each
}

// A word that is put before more than farWords others is late, and maxLate late ones are put among the others at once.
const (
	farWords = 1024
	maxLate  = 512
)

// list gives all words in order. It must not run beside other uses of the set. It joins the late ones in new
// memory, as a Ranges that is handed over by value has its words together with the original.
func (r *Ranges) list() []word {
	if len(r.late) == 0 {
		return r.words
	}
	words, late := r.words, r.late
	all := make([]word, 0, len(words)+len(late))
	for len(late) > 0 {
		n := find(words, late[0].at)
		all = append(append(all, words[:n]...), late[0])
		words, late = words[n:], late[1:]
	}
	r.words, r.late = append(all, words...), nil
	return r.words
}

// size is the number of words.
func (r *Ranges) size() int { return len(r.words) + len(r.late) }

// word is one block, or several full ones.
//
//	at:   manyFull | number of the (first) block, which begins at sequence 64 × number + 1
//	bits: with manyFull the number of full blocks, at least 1; else the members, neither none nor all
type word struct{ at, bits uint64 }

const (
	manyFull  = 1 << 63
	allBits   = ^uint64(0)
	blockBits = 6 // a block has 64 sequences
	inBlock   = 1<<blockBits - 1
)

func (w word) full() bool    { return w.at&manyFull != 0 }
func (w word) block() uint64 { return w.at &^ manyFull }

// end is the block behind the word's last one.
func (w word) end() uint64 {
	if w.full() {
		return w.block() + w.bits
	}
	return w.at + 1
}

// mask has the members of each of the word's blocks.
func (w word) mask() uint64 {
	if w.full() {
		return allBits
	}
	return w.bits
}

// blockOf gives the block of a sequence, which is at least 1, and its bit there.
func blockOf(seq uint64) (block uint64, bit uint) {
	return (seq - 1) >> blockBits, uint((seq - 1) & inBlock)
}

// All gives the runs in order; they neither overlap nor touch.
func (r *Ranges) All() iter.Seq[Span] {
	return func(yield func(Span) bool) {
		var open Span // not given yet, as the next word may go on with it
		for _, w := range r.list() {
			first := w.block()<<blockBits + 1
			last := (w.end()-1)<<blockBits + 1 // of the last block: for a word that is not full the same
			for left := w.mask(); left != 0; {
				from := bits.TrailingZeros64(left)
				n := bits.TrailingZeros64(^(left >> from)) // 64 when all are set
				s := Span{first + uint64(from), last + uint64(from) + uint64(n) - 1}
				left &^= (allBits >> (64 - n)) << from
				if open.To+1 == s.From && open.From != 0 {
					open.To = s.To
					continue
				}
				if open.From != 0 && !yield(open) {
					return
				}
				open = s
			}
		}
		if open.From != 0 {
			yield(open)
		}
	}
}

// Spans gives the runs in order, nil when there are none. The caller owns them.
func (r *Ranges) Spans() []Span { return slices.Collect(r.All()) }

// rangesOf is the set of the runs.
func rangesOf(spans []Span) (r Ranges) {
	for _, s := range spans {
		r.Add(s)
	}
	return r
}

// Empty says whether nothing is in the set.
func (r *Ranges) Empty() bool { return r.size() == 0 }

// Count is the number of sequences in the set.
func (r *Ranges) Count() (n uint64) {
	for _, w := range r.list() {
		n += uint64(bits.OnesCount64(w.mask())) * (w.end() - w.block())
	}
	return n
}

// Within is the number of members in s.
func (r *Ranges) Within(s Span) uint64 {
	one := rangesOf([]Span{s})
	both := combine(*r, one, func(x, y uint64) uint64 { return x & y })
	return both.Count()
}

// Min is the lowest sequence in the set, 0 when it is empty.
func (r *Ranges) Min() uint64 {
	if r.Empty() {
		return 0
	}
	w := r.list()[0]
	return w.block()<<blockBits + uint64(bits.TrailingZeros64(w.mask())) + 1
}

// Max is the highest sequence in the set, 0 when it is empty.
func (r *Ranges) Max() uint64 {
	if r.Empty() {
		return 0
	}
	w := r.list()[r.size()-1]
	return (w.end()-1)<<blockBits + uint64(bits.Len64(w.mask()))
}

// Has says whether seq is in the set.
func (r *Ranges) Has(seq uint64) bool {
	if seq == 0 {
		return false
	}
	block, bit := blockOf(seq)
	for _, words := range [2][]word{r.words, r.late} {
		if i := find(words, block); i < len(words) && words[i].block() <= block {
			return words[i].mask()>>bit&1 != 0
		}
	}
	return false
}

// find is the index of the first word that ends behind block.
func find(words []word, block uint64) int {
	n := len(words)
	if n == 0 || words[n-1].end() <= block { // nearly always: in order
		return n
	}
	if words[n-1].block() <= block {
		return n - 1
	}
	return sort.Search(n, func(i int) bool { return words[i].end() > block })
}

// pieces divides a span at the borders of blocks: each piece is one block with some members, or
// several full ones. A span from 0 or one that ends before it starts has none.
func (s Span) pieces(do func(block, end, mask uint64)) {
	if s.From == 0 || s.To < s.From {
		return
	}
	first, from := blockOf(s.From)
	last, to := blockOf(s.To)
	head, tail := allBits<<from, allBits>>(inBlock-to)
	if first == last {
		do(first, first+1, head&tail)
		return
	}
	if head != allBits {
		do(first, first+1, head)
		first++
	}
	end := last
	if tail == allBits {
		end++
	}
	if first < end {
		do(first, end, allBits)
	}
	if tail != allBits {
		do(last, last+1, tail)
	}
}

// Add puts s into the set. A span from 0 or one that ends before it starts is ignored.
func (r *Ranges) Add(s Span) { s.pieces(r.add) }

// add puts mask's members of the blocks up to end into the set; several blocks are full.
func (r *Ranges) add(block, end, mask uint64) {
	if mask != allBits {
		if mask = r.addSome(block, mask); mask != allBits {
			return
		}
	}
	r.list()
	i := find(r.words, block)
	// Full blocks swallow what they cover, and join with full ones beside them.
	if i > 0 && r.words[i-1].full() && r.words[i-1].end() == block {
		i--
	}
	j := i
	for ; j < len(r.words); j++ {
		w := r.words[j]
		if w.block() > end || w.block() == end && !w.full() {
			break
		}
		block, end = min(block, w.block()), max(end, w.end())
	}
	r.words = slices.Replace(r.words, i, j, word{block | manyFull, end - block})
}

// addSome puts some members of a block into the set and gives all that are there now.
func (r *Ranges) addSome(block, mask uint64) uint64 {
	i := find(r.words, block)
	if i < len(r.words) && r.words[i].block() <= block {
		w := &r.words[i]
		if w.full() {
			return 0 // nothing becomes full
		}
		w.bits |= mask
		return w.bits
	}
	if j := find(r.late, block); j < len(r.late) && r.late[j].at == block {
		r.late[j].bits |= mask
		return r.late[j].bits
	} else if len(r.words)-i > farWords {
		if r.late = slices.Insert(r.late, j, word{block, mask}); len(r.late) >= maxLate {
			r.list()
		}
		return mask
	}
	r.words = slices.Insert(r.words, i, word{block, mask})
	return mask
}

// Remove takes s out of the set.
func (r *Ranges) Remove(s Span) {
	if !r.Empty() {
		s.pieces(r.remove)
	}
}

func (r *Ranges) remove(block, end, mask uint64) {
	r.list()
	i := find(r.words, block)
	j := i
	var rest [3]word // what is left of words that are removed in part: so many at most
	keep := rest[:0]
	for ; j < len(r.words) && r.words[j].block() < end; j++ {
		w := r.words[j]
		if w.block() < block {
			keep = append(keep, word{w.at, block - w.block()})
		}
		if left := w.mask() &^ mask; left != 0 { // mask is of one block
			keep = append(keep, word{block, left})
		}
		if w.end() > end {
			keep = append(keep, word{end | manyFull, w.end() - end})
		}
	}
	if i != j {
		r.words = slices.Replace(r.words, i, j, keep...)
	}
}

// combine joins two sets block by block, in time proportional to the words of both.
func combine(a, b Ranges, op func(x, y uint64) uint64) (out Ranges) {
	x, y := a.list(), b.list()
	for at := uint64(0); ; {
		for len(x) > 0 && x[0].end() <= at {
			x = x[1:]
		}
		for len(y) > 0 && y[0].end() <= at {
			y = y[1:]
		}
		if len(x)+len(y) == 0 {
			return out
		}
		from, to := min(start(x, at), start(y, at)), allBits
		maskX, maskY := cover(x, from, &to), cover(y, from, &to)
		out.push(from, to, op(maskX, maskY))
		at = to
	}
}

// start is where the first word begins, or goes on at block at.
func start(words []word, at uint64) uint64 {
	if len(words) == 0 {
		return allBits
	}
	return max(at, words[0].block())
}

// cover gives what the first word has of block from, and lowers to to where that changes.
func cover(words []word, from uint64, to *uint64) (mask uint64) {
	switch {
	case len(words) == 0:
		return 0
	case words[0].block() > from:
		*to = min(*to, words[0].block())
		return 0
	}
	*to = min(*to, words[0].end())
	return words[0].mask()
}

// push puts blocks behind the set's last one.
func (r *Ranges) push(block, end, mask uint64) {
	switch n := len(r.words); {
	case mask == 0:
	case mask != allBits:
		r.words = append(r.words, word{block, mask})
	case n > 0 && r.words[n-1].full() && r.words[n-1].end() == block:
		r.words[n-1].bits += end - block
	default:
		r.words = append(r.words, word{block | manyFull, end - block})
	}
}

// few is how many words are put in or taken out one by one; more are joined in one pass.
const few = 4

// AddAll puts all of other into the set, in time proportional to the words of both.
func (r *Ranges) AddAll(other Ranges) {
	if other.size() <= few {
		for _, w := range other.list() {
			r.add(w.block(), w.end(), w.mask())
		}
		return
	}
	*r = combine(*r, other, func(x, y uint64) uint64 { return x | y })
}

// RemoveAll takes all of other out of the set, in time proportional to the words of both.
func (r *Ranges) RemoveAll(other Ranges) {
	if other.size() <= few {
		for _, w := range other.list() {
			r.remove(w.block(), w.end(), w.mask())
		}
		return
	}
	*r = combine(*r, other, func(x, y uint64) uint64 { return x &^ y })
}

// Clone is a copy that shares nothing with r.
func (r *Ranges) Clone() Ranges {
	return Ranges{words: slices.Clone(r.words), late: slices.Clone(r.late)}
}

// Missing is what lies between from and the set's highest member but is not in it.
func (r *Ranges) Missing(from uint64) Ranges {
	all := rangesOf([]Span{{max(from, 1), r.Max()}})
	all.RemoveAll(*r)
	return all
}

// forget drops the older half of the words and returns the highest sequence it dropped.
func (r *Ranges) forget() (upTo uint64) {
	n := (len(r.list()) + 1) / 2
	older := Ranges{words: r.words[:n]}
	upTo = older.Max()
	r.words = slices.Delete(r.words, 0, n)
	return upTo
}
