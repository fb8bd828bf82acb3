package cbor

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"telltale.dev/protocol/document"
)

// The other major types and the simple values of CBOR that a document may have (RFC 8949, 3.1 and 3.3).
const (
	majorTag      = 6
	majorSimple   = 7
	simpleFalse   = 20
	simpleTrue    = 21
	simpleNothing = 22
	simpleHalf    = 25
	simpleSingle  = 26
	simpleDouble  = 27
)

// CheckCanonical says whether data is one item in the only form that deterministic CBOR has for it (RFC 8949, 4.2.1):
// shortest heads, definite lengths, keys of maps rising by their encoded bytes and so each once. It looks at the bytes
// and needs not know what they mean, so that also fields of later versions are checked. Tags, NaN and infinities are
// refused, and more than document.MaxDepth levels. The work is bounded by the size of data.
func CheckCanonical(data []byte) error {
	r := Reader{Data: data, Of: "document"}
	if err := r.canonical(0); err != nil {
		return err
	}
	if r.Pos != len(data) {
		return r.Fail("no bytes left over")
	}
	return nil
}

// canonical steps over one item.
func (r *Reader) canonical(depth int) error {
	if depth > document.MaxDepth {
		return r.Fail("fewer levels")
	}
	if r.Pos < len(r.Data) && r.Data[r.Pos]>>5 == majorSimple {
		return r.simple()
	}
	start := r.Pos
	major, n, err := r.Head()
	if err != nil {
		return err
	}
	switch major {
	case MajorUint, MajorNint:
		return nil
	case MajorBytes, MajorText:
		if n > uint64(len(r.Data)-r.Pos) {
			return r.Fail("a string that does not end before its length")
		}
		text := r.Data[r.Pos : r.Pos+int(n)]
		if major == MajorText && !utf8.Valid(text) {
			return r.Fail("UTF-8")
		}
		r.Pos += int(n)
		return nil
	case MajorArray:
		return r.members(n, depth)
	case MajorMap:
		return r.pairs(n, depth)
	}
	r.Pos = start
	return r.Fail("no tag")
}

// members steps over n items. Each has a byte at least, so that a large count ends early.
func (r *Reader) members(n uint64, depth int) error {
	for range n {
		if err := r.canonical(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// pairs steps over n keys with their values.
func (r *Reader) pairs(n uint64, depth int) error {
	var last []byte
	for range n {
		start := r.Pos
		if err := r.canonical(depth + 1); err != nil {
			return err
		}
		key := r.Data[start:r.Pos]
		if bytes.Compare(last, key) >= 0 {
			r.Pos = start
			return r.Fail("rising keys")
		}
		last = key
		if err := r.canonical(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// simple steps over false, true, null or a float, which has the shortest form that keeps its value.
func (r *Reader) simple() error {
	rest := r.Data[r.Pos+1:]
	var size int
	var shortest bool
	switch info := r.Data[r.Pos] & 31; {
	case info == simpleFalse || info == simpleTrue || info == simpleNothing:
		shortest = true
	case info == simpleHalf && len(rest) >= 2:
		size, shortest = 2, rest[0]&0x7C != 0x7C
	case info == simpleSingle && len(rest) >= 4:
		v := math.Float32frombits(binary.BigEndian.Uint32(rest))
		size, shortest = 4, finite(float64(v)) && !fitsHalf(v)
	case info == simpleDouble && len(rest) >= 8:
		v := math.Float64frombits(binary.BigEndian.Uint64(rest))
		size, shortest = 8, finite(v) && float64(float32(v)) != v
	}
	if !shortest {
		return r.Fail("false, true, null or a finite number in its shortest form")
	}
	r.Pos += 1 + size
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// fitsHalf says whether a half float (IEEE 754, binary16) has the value: 11 significant bits, of which the lowest is
// worth 2⁻²⁴ at least, below 2¹⁶.
func fitsHalf(v float32) bool {
	const smallest, end = 0x1p-24, 0x1p16
	if v == 0 {
		return true
	}
	_, exponent := math.Frexp(float64(v)) // |v| is from 2^(exponent−1) to below 2^exponent
	step := math.Max(math.Ldexp(1, exponent-11), smallest)
	return math.Abs(float64(v)) < end && math.Mod(float64(v), step) == 0
}
