package batches

import (
	"fmt"
	"math"
	"math/bits"

	"telltale.dev/protocol"
	"telltale.dev/protocol/cbor"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
)

// Encoder collects rows and writes them as a batch, again and again. It keeps
// its memory, so that nothing is allocated per row once it has seen a batch of
// the usual size. It must not be used by two goroutines at once.
type Encoder struct {
	schema *schemas.Schema
	id     protocol.SchemaID
	sparse bool // rows have bitmaps: every mode but ModeAll
	groups []groupBuffer

	rows, samples int
	cells         int // rows × columns: samples and absent values
	first, last   int64
	firstTick     int64 // of the first row
	estimate      estimator
	err           error // the first row that did not fit; Encode returns it

	out  compress.Compressor
	body []byte
	col  columnWriter
}

// groupBuffer holds the rows of a group.
type groupBuffer struct {
	width   int      // signals
	words   int      // of a row's bitmap
	times   []int64  // ticks since the Unix epoch
	values  []int64  // row by row
	present []uint64 // row by row; not in ModeAll
}

// NewEncoder makes an Encoder for batches of schema, whose document's hash
// begins with id. The schema must be one that Schema.Encode accepts.
func NewEncoder(schema *schemas.Schema, id protocol.SchemaID) *Encoder {
	e := &Encoder{schema: schema, id: id, sparse: schema.Mode != protocol.ModeAll}
	e.groups = make([]groupBuffer, len(schema.Groups))
	for i, members := range schema.Groups {
		e.groups[i].width = len(members)
		e.groups[i].words = (len(members) + 63) / 64
	}
	e.estimate.reset()
	return e
}

// Add takes a row of a ModeAll or ModeGrid schema: the raw values of all
// signals of the group, in its order, at t µs since the Unix epoch. The time is
// cut to the schema's tick by floor. A row that does not fit the schema or is
// over a limit is not kept, and makes the next Encode fail.
func (e *Encoder) Add(group int, t int64, raw []int64) {
	if e.schema.Mode == protocol.ModeOnChange {
		e.refuse("bitmaps of changed signals")
		return
	}
	if g := e.row(group, t, len(raw)); g != nil {
		e.samples += len(raw)
		if n := len(g.values); n > 0 {
			e.estimate.add(raw, g.values[n-len(raw):])
		}
		g.values = append(g.values, raw...)
		if e.sparse {
			g.present = appendOnes(g.present, len(raw))
		}
	}
}

// appendOnes appends a bitmap of n ones.
func appendOnes(bitmap []uint64, n int) []uint64 {
	for ; n > 0; n -= 64 {
		bitmap = append(bitmap, ^uint64(0)>>max(64-n, 0))
	}
	return bitmap
}

// AddChanged takes a row of a ModeOnChange or ModeGrid schema. Bit i of present
// (bit i%64 of word i/64) says that signal i of the group has a value in the row;
// the raw values of the others are not kept. Otherwise it is like Add.
func (e *Encoder) AddChanged(group int, t int64, raw []int64, present []uint64) {
	if !e.sparse {
		e.refuse("rows without a bitmap")
		return
	}
	if words := (len(raw) + 63) / 64; len(present) != words || len(raw)%64 != 0 && present[words-1]>>(len(raw)%64) != 0 {
		e.refuse("a bitmap as wide as the row")
		return
	}
	if g := e.row(group, t, len(raw)); g != nil {
		n := 0
		for _, word := range present {
			n += bits.OnesCount64(word)
		}
		e.samples += n
		e.estimate.addChanged(n)
		g.values = append(g.values, raw...)
		g.present = append(g.present, present...)
	}
}

// row begins a row and gives its group, nil when it does not fit.
func (e *Encoder) row(group int, t int64, width int) *groupBuffer {
	switch {
	case group < 0 || group >= len(e.groups) || width != e.groups[group].width:
		e.refuse("a group of the schema and a value for each of its signals")
		return nil
	case t < -maxTime || t > maxTime:
		e.refuse("a time near the Unix epoch")
		return nil
	case e.rows >= MaxRows || e.cells+width > MaxSamples:
		if e.err == nil {
			e.err = fmt.Errorf("batch of %d rows and %d samples: %w", e.rows, e.samples, document.ErrLimit)
		}
		return nil
	}
	if e.rows == 0 {
		e.first, e.firstTick = t, floorDiv(t, e.schema.Tick)
	}
	e.last = t
	e.rows++
	e.cells += width
	g := &e.groups[group]
	g.times = append(g.times, e.ticks(t))
	return g
}

// ticks gives t in the schema's ticks. Most rows are less than an hour after their batch's first one: their division is
// one of 32 bits, which is much quicker.
func (e *Encoder) ticks(t int64) int64 {
	if after := uint64(t - e.firstTick*e.schema.Tick); after <= math.MaxUint32 {
		return e.firstTick + int64(uint32(after)/uint32(e.schema.Tick)) // a tick is at most a minute
	}
	return floorDiv(t, e.schema.Tick)
}

func (e *Encoder) refuse(expected string) {
	if e.err == nil {
		e.err = fmt.Errorf("expected %s: %w", expected, ErrRows)
	}
}

// floorDiv divides by a positive number and rounds down.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Rows is the number of rows since the last Reset.
func (e *Encoder) Rows() int { return e.rows }

// Samples is the number of values since the last Reset; absent ones do not count.
func (e *Encoder) Samples() int { return e.samples }

// Claim is what Encode's batch will claim; its span is from the first row added to the
// last, which is never more than what Measure finds.
func (e *Encoder) Claim() Claim {
	c := Claim{Rows: e.rows, Cells: e.cells, Samples: e.samples}
	if e.cells > MaxCellRate {
		first, last := floorDiv(e.first, e.schema.Tick), floorDiv(e.last, e.schema.Tick)
		c.Span = uint64(max(first, last)) - uint64(min(first, last))
	}
	return c
}

// Size estimates the bytes of the payload so far, from how many bits change
// from row to row and how that turned out in the batch before.
func (e *Encoder) Size() int {
	if e.rows == 0 {
		return 0
	}
	return e.estimate.size(e.rows)
}

// First is the time of the first row added, in µs since the Unix epoch and not cut; 0 when there is none.
func (e *Encoder) First() int64 { return e.first }

// Last is the time of the row added last, like First.
func (e *Encoder) Last() int64 { return e.last }

// Reset forgets all rows and keeps the memory.
func (e *Encoder) Reset() {
	for i := range e.groups {
		g := &e.groups[i]
		g.times, g.values, g.present = g.times[:0], g.values[:0], g.present[:0]
	}
	e.rows, e.samples, e.cells, e.first, e.last, e.err = 0, 0, 0, 0, 0, nil
	e.estimate.reset()
}

// Encode appends the payload to dst. The rows stay, so that a checkpoint is an
// Encode without a Reset. h.Schema may be zero, else it must be the Encoder's.
// The error wraps ErrRows or document.ErrLimit for rows that did not fit, document.ErrMalformed
// or document.ErrLimit for a bad header.
func (e *Encoder) Encode(h Header, dst []byte) ([]byte, error) {
	if e.err != nil {
		return dst, fmt.Errorf("write batch: %w", e.err)
	}
	if h.Schema != (protocol.SchemaID{}) && h.Schema != e.id {
		return dst, fmt.Errorf("write batch: header: %w", ErrSchema)
	}
	h.Schema = e.id
	if err := h.validate(); err != nil {
		return dst, fmt.Errorf("write batch: %w", err)
	}
	e.body = h.append(e.body[:0])
	head := len(e.body)
	e.body = e.appendGroups(e.body)
	e.body = h.appendTail(e.body)
	if len(e.body) > compress.MaxSize {
		return dst, fmt.Errorf("write batch: %d bytes: %w", len(e.body), document.ErrLimit)
	}
	start := len(dst)
	dst, err := e.out.Append(dst, e.body, head)
	if err != nil {
		return dst[:start], fmt.Errorf("write batch: %w", err)
	}
	e.estimate.learn(e.rows, len(dst)-start)
	return dst, nil
}

// appendGroups writes t0 and the groups that have rows.
func (e *Encoder) appendGroups(dst []byte) []byte {
	t0, used := int64(0), 0
	for i := range e.groups {
		if times := e.groups[i].times; len(times) > 0 {
			if used == 0 || times[0] < t0 {
				t0 = times[0]
			}
			used++
		}
	}
	dst = cbor.AppendInt(dst, t0)
	dst = cbor.AppendHead(dst, cbor.MajorArray, uint64(used))
	for i := range e.groups {
		if g := &e.groups[i]; len(g.times) > 0 {
			dst = e.appendGroup(dst, i, g, t0)
		}
	}
	return dst
}

func (e *Encoder) appendGroup(dst []byte, id int, g *groupBuffer, t0 int64) []byte {
	n := len(g.times)
	dst = cbor.AppendHead(dst, cbor.MajorArray, uint64(3+g.width))
	dst = cbor.AppendHead(dst, cbor.MajorUint, uint64(id))
	dst = cbor.AppendHead(dst, cbor.MajorUint, uint64(n))
	values := e.col.room(n)
	for i, t := range g.times {
		values[i] = t - t0
	}
	dst = e.col.append(dst, values, true)
	for c := range g.width {
		values := e.col.room(n)
		if e.sparse {
			dst = e.col.appendChanged(dst, values, g, c)
			continue
		}
		for i := range values {
			values[i] = g.values[i*g.width+c]
		}
		dst = e.col.append(dst, values, false)
	}
	return dst
}
