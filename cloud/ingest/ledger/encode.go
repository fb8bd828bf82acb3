package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
)

// ErrSnapshot is wrapped by every error about bytes of a ledger that cannot be read.
var ErrSnapshot = errors.New("invalid ledger snapshot")

// A set is written as pieces in order, behind their number. Numbers are unsigned varints.
//
//	run: (first - next) × 2, length - 1            next is the sequence behind the former piece, at first 1
//	map: (block - nextBlock) × 2 + 1, n, n words   nextBlock is the first block that begins at or behind next; a word has 8 bytes, little endian
//
// A block with raggedRuns runs or more, which cost two bytes each at least, is a word of a map, and
// blocks that follow each other share one. What is in other blocks are runs, which go on over their borders.
// So there is one way to write a set.
const raggedRuns = 5

// ragged says whether the word is written in a map.
func (w word) ragged() bool {
	return !w.full() && bits.OnesCount64(w.bits&^(w.bits<<1)) >= raggedRuns
}

// piece is a run, or a map when it has words.
type piece struct {
	run Span
	raw []word
}

// pieces gives the set as it is written.
func (r *Ranges) pieces() iter.Seq[piece] {
	return func(yield func(piece) bool) {
		for rest := r.list(); len(rest) > 0; {
			n, maps := 0, rest[0].ragged()
			for n < len(rest) && rest[n].ragged() == maps && (!maps || rest[n].at == rest[0].at+uint64(n)) {
				n++
			}
			part := Ranges{words: rest[:n]}
			rest = rest[n:]
			if maps {
				if !yield(piece{raw: part.words}) {
					return
				}
				continue
			}
			for s := range part.All() {
				if !yield(piece{run: s}) {
					return
				}
			}
		}
	}
}

// AppendTo appends the set to out as ReadRanges reads it.
func (r *Ranges) AppendTo(out []byte) []byte {
	n := uint64(0)
	for range r.pieces() {
		n++
	}
	out = binary.AppendUvarint(out, n)
	next := uint64(1)
	for p := range r.pieces() {
		if p.raw == nil {
			out = binary.AppendUvarint(out, (p.run.From-next)<<1)
			out = binary.AppendUvarint(out, p.run.Len()-1)
			next = p.run.To + 1
			continue
		}
		out = binary.AppendUvarint(out, (p.raw[0].at-blockBehind(next))<<1|1)
		out = binary.AppendUvarint(out, uint64(len(p.raw)))
		for _, w := range p.raw {
			out = binary.LittleEndian.AppendUint64(out, w.bits)
		}
		next = p.raw[len(p.raw)-1].end()<<blockBits + 1
	}
	return out
}

// blockBehind is the first block that begins at or behind seq.
func blockBehind(seq uint64) uint64 { return (seq - 1 + inBlock) >> blockBits }

// maxSeq is the highest sequence that can be written: the gap before a run has a bit less than 64.
const maxSeq = 1<<63 - 1

// lastBlock is the block of maxSeq, which has the bit before its highest.
const lastBlock = maxSeq >> blockBits

// ReadRanges reads what AppendTo wrote, and gives the bytes behind it. The error wraps ErrSnapshot.
func ReadRanges(data []byte) (out Ranges, rest []byte, err error) {
	r := &reader{rest: data}
	r.ranges(&out)
	return out, r.rest, r.err
}

// reader reads what this package writes; after the first error it returns zeros.
type reader struct {
	rest  []byte
	err   error
	again []byte // scratch of ranges
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s, %d bytes before the end: %w", what, len(r.rest), ErrSnapshot)
		r.rest = nil
	}
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.fail("cut short")
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) number() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 { // nearly always
		v := r.rest[0]
		r.rest = r.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		r.fail("expected a number")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// ranges reads a set into an empty one, whose memory it uses. What it takes can be written in one way only.
func (r *reader) ranges(into *Ranges) {
	into.words = into.words[:0]
	whole, next := r.rest, uint64(1)
	for n := r.number(); n > 0 && r.err == nil; n-- {
		head := r.number()
		if head&1 != 0 {
			next = r.words(into, blockBehind(next)+head>>1)
			continue
		}
		length := r.number()
		s := Span{next + head>>1, next + head>>1 + length}
		if s.To > maxSeq || s.To < s.From || s.From < next {
			r.fail("expected runs in order")
			return
		}
		into.Add(s)
		next = s.To + 1
	}
	if r.err != nil || into.Empty() && whole[0] == 0 {
		return
	}
	r.again = into.AppendTo(r.again[:0])
	if !bytes.Equal(r.again, whole[:len(whole)-len(r.rest)]) {
		r.fail("expected the shortest form of a set")
	}
}

// words reads a map's words, the first of which is of block, and gives the sequence behind them.
func (r *reader) words(into *Ranges, block uint64) (next uint64) {
	n := r.number()
	if n == 0 || n > uint64(len(r.rest))/8 || block > lastBlock+1-n {
		r.fail("cut short, or blocks beyond the last")
		return 1
	}
	for raw := r.take(8 * n); len(raw) > 0; raw = raw[8:] {
		bits := binary.LittleEndian.Uint64(raw)
		if block == lastBlock && bits > allBits>>1 {
			r.fail("a sequence beyond the last")
			return 1
		}
		if bits != 0 {
			into.add(block, block+1, bits)
		}
		block++
	}
	return block<<blockBits + 1
}

// ReadRuns reads a set as version 1 wrote it: the number of runs, and for each the distance from the end of
// the one before and its length - 1.
func ReadRuns(data []byte) (out Ranges, rest []byte, err error) {
	r := &reader{rest: data}
	r.runsOf(&out)
	return out, r.rest, r.err
}

func (r *reader) runsOf(into *Ranges) {
	end := uint64(0)
	for i, n := uint64(0), r.number(); i < n && r.err == nil; i++ {
		gap, length := r.number(), r.number()
		s := Span{From: end + gap, To: end + gap + length}
		if r.err != nil || gap == 0 || i > 0 && gap == 1 || s.From < end || s.To < s.From {
			r.fail("expected runs in order")
			return
		}
		into.Add(Span{s.From, min(s.To, maxSeq)})
		end = s.To
	}
}
