package batches

import "math/bits"

// Groups is the number of groups of the schema.
func (e *Encoder) Groups() int { return len(e.groups) }

// GroupRows is the number of rows of a group since the last Reset.
func (e *Encoder) GroupRows(group int) int { return len(e.groups[group].times) }

// Time is the time of a group's row, in µs since the Unix epoch, cut to the schema's tick.
func (e *Encoder) Time(group, row int) int64 { return e.groups[group].times[row] * e.schema.Tick }

// Copy adds rows from up to, but without, to of a group of another Encoder, which has the same schema. It is how a batch
// is split without decoding it.
func (e *Encoder) Copy(in *Encoder, group, from, to int) {
	if from >= to {
		return
	}
	src, dst := &in.groups[group], &e.groups[group]
	if e.rows == 0 {
		e.first = in.Time(group, from)
	}
	e.last = in.Time(group, to-1)
	rows := to - from
	e.rows += rows
	e.cells += rows * src.width
	dst.times = append(dst.times, src.times[from:to]...)
	dst.values = append(dst.values, src.values[from*src.width:to*src.width]...)
	if !e.sparse {
		e.samples += rows * src.width
		return
	}
	present := src.present[from*src.words : to*src.words]
	for _, word := range present {
		e.samples += bits.OnesCount64(word)
	}
	dst.present = append(dst.present, present...)
}
