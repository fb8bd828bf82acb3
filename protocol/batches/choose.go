package batches

import (
	"math/bits"
	"slices"

	"telltale.dev/protocol/cbor"
)

// columnWriter writes columns in the coding that should become shortest. Its
// slices are scratch memory.
type columnWriter struct {
	values []int64
	res    [4][]uint64 // residuals of each transform
	list   [4]choice   // codings under consideration
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

// choice is a coding with what is known of its residuals.
type choice struct {
	transform, packing coding
	base               [2]int64
	res                []uint64
	width              int // bits of the widest residual
	weight             int // bits of all residuals, each without its leading zeros
	runs               int // stretches of equal residuals
}

func (c *choice) append(dst []byte) []byte {
	dst = append(dst, byte(c.transform|c.packing))
	dst = appendUvarint(dst, zigzag(c.base[0]))
	if c.transform == bend || c.transform == line {
		dst = appendUvarint(dst, zigzag(c.base[1]))
	}
	return pack(dst, c)
}

// choose gives the best coding for values, of which there is at least one. Its
// residuals are valid until the next call.
//
// Exact prices need a histogram of the bytes, which costs more than everything else.
// Most columns do without: a coding whose price is known by counting alone wins when
// the others cannot be cheaper, or one transform makes much smaller residuals than
// the others and leaves them far from filling their width.
func (w *columnWriter) choose(values []int64, times bool) *choice {
	list := w.transformed(values, times)
	if len(values) > fewRows+2 { // else no histogram is large
		if c := cheapest(list); c != nil {
			return c
		}
		list = withoutHeavy(list)
		if len(list) == 1 && list[0].clearlyPlanes() {
			list[0].packing = packPlanes
			return &list[0]
		}
	}
	best, lowest := &list[0], w.prices.price(&list[0])
	for i := 1; i < len(list); i++ {
		if cost := w.prices.price(&list[i]); cost < lowest {
			best, lowest = &list[i], cost
		}
	}
	return best
}

// transformed gives the residuals of values by each transform that is worth a try.
func (w *columnWriter) transformed(values []int64, times bool) []choice {
	for i := range w.res {
		w.res[i] = resize(w.res[i], len(values))
	}
	w.list[0], w.list[1] = w.differences(values)
	if !times || len(values) < 3 {
		return w.list[:2]
	}
	for i, transform := range []coding{bend, line} {
		c := choice{transform: transform}
		c.base, c.res = residuals(w.res[transform>>4], values, transform)
		c.measure()
		w.list[2+i] = c
	}
	return w.list[:]
}

// differences gives the residuals of offset and delta, in one pass.
func (w *columnWriter) differences(values []int64) (o, d choice) {
	low, before, last := slices.Min(values), values[0], uint64(0)
	offsets, deltas := w.res[0][:len(values)], w.res[1][:len(values)]
	above, weight, runs := uint64(0), 0, 1
	steps, stepWeight, stepRuns := uint64(0), 0, 0
	for i, v := range values {
		up, step := uint64(v-low), zigzag(v-before)
		offsets[i], deltas[i] = up, step
		above, steps = above|up, steps|step
		weight, stepWeight = weight+bits.Len64(up), stepWeight+bits.Len64(step)
		if step != 0 {
			runs++
		}
		if step != last {
			stepRuns++
		}
		before, last = v, step
	}
	if len(deltas) > 1 && deltas[1] == 0 { // the step to the first value, 0, is none of the residuals
		stepRuns++
	}
	o = choice{transform: offset, base: [2]int64{low}, res: offsets, width: bits.Len64(above), weight: weight, runs: runs}
	d = choice{transform: delta, base: [2]int64{values[0]}, res: deltas[1:], width: bits.Len64(steps), weight: stepWeight, runs: stepRuns}
	return o, d
}

// measure counts width, weight and runs of the residuals.
func (c *choice) measure() {
	all, last := uint64(0), uint64(0)
	for i, r := range c.res {
		all |= r
		c.weight += bits.Len64(r)
		if r != last || i == 0 {
			c.runs++
		}
		last = r
	}
	c.width = bits.Len64(all)
}

// cheapest gives the coding that is the cheapest whatever the histograms say, or nil.
func cheapest(list []choice) *choice {
	best, lowest, decided := 0, float32(0), false
	for i := range list {
		cost, exact := list[i].floor()
		if i == 0 || cost < lowest {
			best, lowest, decided = i, cost, exact
		}
	}
	if !decided {
		return nil
	}
	return &list[best]
}

// What the rules of thumb go by. They were found with the recordings in simulator/recordings, where they choose as well
// as prices do.
const (
	heavier      = 1   // bits in each row: residuals that are so much heavier than others are never better
	looselyFills = 0.7 // of the bits of residuals: below it planes are always better than bits
	narrow       = 3   // bits of residuals from which on that holds
)

// withoutHeavy leaves out the transforms whose residuals are much larger than those of another one. Where one has long
// runs it leaves out none, for weight says little about runs. Of times, whose exact steps may be wide, it leaves out
// only those that are heavier by half as well.
func withoutHeavy(list []choice) []choice {
	lightest := list[0].weight
	for i := range list {
		if list[i].mayRun() {
			return list
		}
		lightest = min(lightest, list[i].weight)
	}
	most := lightest + heavier*len(list[0].res)
	if len(list) > 2 {
		most += lightest / 2
	}
	return slices.DeleteFunc(list, func(c choice) bool { return c.weight > most })
}

// mayRun says whether packRuns is considered.
func (c *choice) mayRun() bool { return c.runs < len(c.res)/3 }

// clearlyPlanes says whether packPlanes is better than the other packings.
func (c *choice) clearlyPlanes() bool {
	return !c.mayRun() && c.width >= narrow && float64(c.weight) < looselyFills*float64(c.width*len(c.res))
}
