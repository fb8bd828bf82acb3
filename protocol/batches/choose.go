package batches

import (
	"math"

	"telltale.dev/protocol/cbor"
)

// columnWriter writes columns in the coding that should become shortest. Its
// slices are scratch memory.
type columnWriter struct {
	values []int64
	res    [4][]uint64 // residuals of each transform
	bitmap []byte
	coded  []byte
	prices prices
}

// resize gives a slice of length n that reuses s's memory when it can.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

// room gives scratch memory for n values, valid until the next call.
func (w *columnWriter) room(n int) []int64 {
	w.values = resize(w.values, n)
	return w.values
}

// append writes a column of values. Times mostly rise evenly, and are tried in more codings.
func (w *columnWriter) append(dst []byte, values []int64, times bool) []byte {
	if constant(values) {
		return cbor.AppendInt(dst, values[0])
	}
	best := w.choose(values, times)
	w.coded = best.append(w.coded[:0])
	return cbor.AppendBytes(dst, w.coded)
}

func constant(values []int64) bool {
	for _, v := range values[1:] {
		if v != values[0] {
			return false
		}
	}
	return true
}

// choose gives the best coding for values, of which there is at least one. Its
// residuals are valid until the next call.
func (w *columnWriter) choose(values []int64, times bool) choice {
	low := values[0]
	for _, v := range values {
		low = min(low, v)
	}
	best := choice{cost: math.MaxFloat32}
	w.consider(&best, values, offset, low)
	w.consider(&best, values, delta, low)
	if times && len(values) > 2 {
		w.consider(&best, values, bend, low)
		w.consider(&best, values, line, low)
	}
	return best
}

// choice is a coding with its estimated cost in bytes.
type choice struct {
	transform, packing coding
	base               [2]int64
	res                []uint64
	width              int // bits
	cost               float32
}

func (c *choice) append(dst []byte) []byte {
	dst = append(dst, byte(c.transform|c.packing))
	dst = appendUvarint(dst, zigzag(c.base[0]))
	if c.transform == bend || c.transform == line {
		dst = appendUvarint(dst, zigzag(c.base[1]))
	}
	return pack(dst, c.packing, c.res, c.width)
}

// consider replaces best by the given transform in its best packing, if that costs less.
func (w *columnWriter) consider(best *choice, values []int64, transform coding, low int64) {
	c := choice{transform: transform}
	scratch := &w.res[transform>>4]
	*scratch = resize(*scratch, len(values))
	c.base, c.res = residuals(*scratch, values, transform, low)
	c.width = widthOf(c.res)
	c.packing, c.cost = w.prices.packing(c.res, c.width)
	for _, b := range c.base {
		if b != 0 {
			c.cost += float32(uvarintLen(zigzag(b)))
		}
	}
	if c.cost < best.cost {
		*best = c
	}
}
