package batches

import (
	"fmt"
	"math"
	"math/bits"

	"telltale.dev/protocol"
	"telltale.dev/protocol/cbor"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
)

// Batch is a decoded batch.
type Batch struct {
	Header
	T0   int64       // start in µs since the Unix epoch; a multiple of the schema's tick
	Rows []GroupRows // by ascending group; only groups that have rows
}

// GroupRows are the rows of one group, column by column.
type GroupRows struct {
	Group   int
	Time    []int64    // µs since the Unix epoch, for each row
	Columns [][]int64  // for each signal of the group, a raw value for each row
	Present [][]uint64 // for each column a bitmap (row r: bit r%64 of word r/64); nil: a value in each row. Absent values are 0
}

// Samples is the number of values in the batch; absent ones do not count.
func (b *Batch) Samples() int {
	n := 0
	for i := range b.Rows {
		n += b.Rows[i].samples()
	}
	return n
}

func (g *GroupRows) samples() int {
	n := 0
	for c := range g.Columns {
		if g.Present == nil || g.Present[c] == nil {
			n += len(g.Time)
			continue
		}
		for _, word := range g.Present[c] {
			n += bits.OnesCount64(word)
		}
	}
	return n
}

// Has says whether column c has a value in the given row.
func (g *GroupRows) Has(c, row int) bool {
	return g.Present == nil || g.Present[c] == nil || g.Present[c][row/64]>>(row%64)&1 == 1
}

// Decode reads a payload whose schema is given. Memory is bounded by
// MaxSamples, whatever the payload says. The error wraps ErrSchema when the
// batch has another schema's columns, else document.ErrMalformed, document.ErrLimit or document.ErrVersion.
// The caller must have found schema by ParseHeader(payload).Schema.
func Decode(payload []byte, schema *schemas.Schema) (*Batch, error) {
	plain, err := Unpack(payload)
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	d := decoder{reader: newReader(plain), schema: schema}
	b, err := d.batch()
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	return b, nil
}

type decoder struct {
	reader
	schema  *schemas.Schema
	t0      int64 // ticks
	rows    int
	columns int
	cells   int
}

func (d *decoder) batch() (*Batch, error) {
	h, tail, err := d.header()
	if err != nil {
		return nil, err
	}
	b := &Batch{Header: h}
	if d.t0, err = d.Int("a start time"); err != nil {
		return nil, err
	}
	if b.T0, err = d.time(0); err != nil {
		return nil, err
	}
	groups, err := d.Array(len(d.schema.Groups), "groups")
	if err != nil {
		return nil, err
	}
	last := -1
	for range groups {
		g, err := d.group(last)
		if err != nil {
			return nil, err
		}
		last = g.Group
		b.Rows = append(b.Rows, g)
	}
	if tail {
		if err := d.tail(&b.Header); err != nil {
			return nil, err
		}
	}
	if d.Pos != len(d.Data) {
		return nil, d.Fail("no bytes left over")
	}
	return b, nil
}

// time converts ticks after t0 to µs since the Unix epoch.
func (d *decoder) time(ticks int64) (int64, error) {
	at := d.t0 + ticks
	if (at < d.t0) != (ticks < 0) {
		return 0, d.Fail("times in range")
	}
	if limit := math.MaxInt64 / d.schema.Tick; at > limit || at < -limit {
		return 0, d.Fail("times in range")
	}
	return at * d.schema.Tick, nil
}

func (d *decoder) group(last int) (g GroupRows, err error) {
	elements, err := d.Array(schemas.MaxColumns+3, "a group")
	if err != nil {
		return g, err
	}
	id, err := d.Uint("a group number")
	if err != nil {
		return g, err
	}
	if id >= uint64(len(d.schema.Groups)) || int(id) <= last {
		return g, fmt.Errorf("byte %d of the batch: expected the schema's groups in order: %w: %w", d.Pos, ErrSchema, document.ErrMalformed)
	}
	g.Group = int(id)
	width := len(d.schema.Groups[id])
	if elements != 3+width {
		return g, fmt.Errorf("byte %d of the batch: group %d has %d columns, expected %d: %w: %w", d.Pos, id, elements-3, width, ErrSchema, document.ErrMalformed)
	}
	rows, err := d.Uint("a number of rows")
	if err != nil {
		return g, err
	}
	if err := d.account(rows, width); err != nil {
		return g, err
	}
	if g.Time, err = d.times(int(rows)); err != nil {
		return g, err
	}
	g.Columns = make([][]int64, width)
	for c := range g.Columns {
		if err := d.column(&g, c); err != nil {
			return g, err
		}
	}
	return g, nil
}

// account checks the limits before anything is allocated for a group.
func (d *decoder) account(rows uint64, width int) error {
	if rows < 1 {
		return d.Fail("at least one row")
	}
	if rows > MaxRows || d.rows+int(rows) > MaxRows || d.columns+width > schemas.MaxColumns || int64(d.cells)+int64(rows)*int64(width) > MaxSamples {
		return fmt.Errorf("byte %d of the batch: %d rows of %d columns: %w", d.Pos, rows, width, document.ErrLimit)
	}
	d.rows += int(rows)
	d.columns += width
	d.cells += int(rows) * width
	return nil
}

func (d *decoder) times(rows int) ([]int64, error) {
	times := make([]int64, rows)
	present, err := d.values(times)
	if err != nil {
		return nil, err
	}
	if present != nil {
		return nil, d.Fail("a time for each row")
	}
	for i, t := range times {
		if times[i], err = d.time(t); err != nil {
			return nil, err
		}
	}
	return times, nil
}

func (d *decoder) column(g *GroupRows, c int) error {
	g.Columns[c] = make([]int64, len(g.Time))
	present, err := d.values(g.Columns[c])
	if err != nil || present == nil {
		return err
	}
	if d.schema.Mode == protocol.ModeAll {
		return d.Fail("a value in each row")
	}
	if g.Present == nil {
		g.Present = make([][]uint64, len(g.Columns))
	}
	g.Present[c] = present
	return nil
}

// values reads a column into dst, whose memory is zero. The bitmap is nil when each row has a value.
func (d *decoder) values(dst []int64) (present []uint64, err error) {
	major, null, err := d.Peek()
	switch {
	case err != nil:
		return nil, err
	case null:
		return make([]uint64, (len(dst)+63)/64), d.Null()
	case major != cbor.MajorBytes:
		v, err := d.Int("a column")
		for i := range dst {
			dst[i] = v
		}
		return nil, err
	}
	data, err := d.Bytes(cbor.MajorBytes, "a column")
	if err != nil {
		return nil, err
	}
	if len(data) > 0 && coding(data[0]).transform() == sparse {
		present, err = decodeSparse(dst, data)
	} else {
		err = decodeColumn(dst, data)
	}
	if err != nil {
		return nil, fmt.Errorf("byte %d of the batch: %w", d.Pos-len(data), err)
	}
	return present, nil
}
