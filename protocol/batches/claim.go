package batches

import (
	"fmt"
	"math"
	"sync"

	"telltale.dev/protocol/cbor"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
)

// Bounds of what one batch may claim to hold, the same at both ends: the vehicle (agent/batch)
// splits a batch that is beyond them, and the cloud sets it aside before anything is expanded. They are
// fair for real cars, whose busiest second has some 7,000 values and which need 3 to 775
// values a byte.
const (
	// MaxCells bounds rows × columns of a batch, absent values included.
	MaxCells = 1 << 20
	// MaxCellRate bounds rows × columns for each second that a batch spans, and one second
	// more. A batch of a single row may be as wide as schemas.MaxColumns.
	MaxCellRate = 20_000
	// MaxSamplesPerByte bounds the values, absent ones not counted, for each byte of the payload as it is sent.
	MaxSamplesPerByte = 1024
)

// Claim is what a batch says it holds.
type Claim struct {
	Rows    int // of all groups
	Cells   int // rows × columns, absent values included: what it costs to expand them
	Samples int // values; absent ones do not count
	Evicted int // ranges declared
	Plain   int // bytes after decompression
	// Span is the time from the earliest row to the latest, in ticks of the schema. It is
	// zero when Cells keeps to the bound of a batch that spans no time.
	Span uint64
}

// Check holds the claim of a payload of size bytes against the bounds. The tick is that
// of the schema, in µs. The error wraps document.ErrLimit.
func (c *Claim) Check(tick int64, size int) error {
	if err := c.checkSize(size); err != nil {
		return err
	}
	if c.Rows == 1 { // it cannot be less
		return nil
	}
	seconds := float64(c.Span) * float64(tick) / 1e6
	if allowed := MaxCellRate * (seconds + 1); float64(c.Cells) > allowed {
		return fmt.Errorf("batch claims %d values in %.1f s, expected at most %d for each second and one more: %w", c.Cells, seconds, MaxCellRate, document.ErrLimit)
	}
	return nil
}

// checkSize is the part of Check that needs no time.
func (c *Claim) checkSize(size int) error {
	switch {
	case c.Cells > MaxCells:
		return fmt.Errorf("batch claims %d values, expected at most %d: %w", c.Cells, MaxCells, document.ErrLimit)
	case c.Samples > MaxSamplesPerByte*size:
		return fmt.Errorf("batch claims %d values in %d bytes, expected at most %d a byte: %w", c.Samples, size, MaxSamplesPerByte, document.ErrLimit)
	}
	return nil
}

// Measure reads what a payload claims, without its schema and without expanding its
// columns. Its work is bounded by the payload's size and by MaxCells rows' times.
// The error wraps document.ErrMalformed, document.ErrLimit or document.ErrVersion; it is about the size too, so that
// only the rate is left for Check. A column whose contents are wrong is found by Decode only.
func Measure(payload []byte) (Claim, error) {
	c, err := measure(payload)
	if err != nil {
		return c, fmt.Errorf("batch: %w", err)
	}
	return c, nil
}

func measure(payload []byte) (c Claim, err error) {
	plain, err := Unpack(payload)
	if err != nil {
		return c, err
	}
	m := measurer{reader: newReader(plain), claim: Claim{Plain: len(plain)}}
	if err := m.batch(); err != nil {
		return m.claim, err
	}
	if err := m.claim.checkSize(len(payload)); err != nil {
		return m.claim, err
	}
	if m.claim.Cells > MaxCellRate {
		err = m.span()
	}
	return m.claim, err
}

// measurer steps over the groups of a batch.
type measurer struct {
	reader
	claim Claim
	times []timeColumn
}

// timeColumn is where the times of a group are.
type timeColumn struct {
	at   int // in the batch
	rows int
}

func (m *measurer) batch() error {
	h, _, err := m.header()
	if err != nil {
		return err
	}
	m.claim.Evicted = len(h.Evicted)
	if _, err := m.Int("a start time"); err != nil {
		return err
	}
	groups, err := m.Array(schemas.MaxGroups, "groups")
	if err != nil {
		return err
	}
	for range groups {
		if err := m.group(); err != nil {
			return err
		}
	}
	return nil
}

func (m *measurer) group() error {
	elements, err := m.Array(schemas.MaxColumns+3, "a group")
	if err != nil {
		return err
	}
	if elements < 3 {
		return m.Fail("a group of at least three")
	}
	if _, err := m.Uint("a group number"); err != nil {
		return err
	}
	rows, err := m.Uint("a number of rows")
	if err != nil {
		return err
	}
	width := elements - 3
	if rows > MaxRows || m.claim.Rows+int(rows) > MaxRows || int64(m.claim.Cells)+int64(rows)*int64(width) > MaxSamples {
		return fmt.Errorf("byte %d of the batch: %d rows of %d columns: %w", m.Pos, rows, width, document.ErrLimit)
	}
	m.claim.Rows += int(rows)
	m.claim.Cells += int(rows) * width
	m.times = append(m.times, timeColumn{at: m.Pos, rows: int(rows)})
	if err := m.skipColumn(); err != nil {
		return err
	}
	for range width {
		n, err := m.present(int(rows))
		if err != nil {
			return err
		}
		m.claim.Samples += n
	}
	return nil
}

// present steps over a column and gives how many of the rows it says it has values in.
func (m *measurer) present(rows int) (int, error) {
	major, null, err := m.Peek()
	switch {
	case err != nil:
		return 0, err
	case null:
		return 0, m.Null()
	case major != cbor.MajorBytes:
		_, err := m.Int("a column")
		return rows, err
	}
	data, err := m.Bytes(cbor.MajorBytes, "a column")
	if err != nil || len(data) == 0 || coding(data[0]).transform() != sparse {
		return rows, err
	}
	p := payload{data[1:]}
	if coding(data[0]) == sparseBitmap {
		return countBitmap(rows, &p)
	}
	n, err := p.uvarint("a number of values")
	if err == nil && (n > uint64(rows) || n > uint64(len(data))) { // each has a gap
		err = columnError("a value for each row at most, and a gap for each value")
	}
	return int(min(n, uint64(rows))), err
}

// span finds the earliest and the latest time, in ticks. Only the times are expanded, a group at a time.
func (m *measurer) span() error {
	scratch, _ := timeScratch.Get().(*[]int64)
	defer timeScratch.Put(scratch)
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, c := range m.times {
		if c.rows == 0 {
			continue
		}
		m.Pos = c.at
		if major, _, err := m.Peek(); err == nil && major != cbor.MajorBytes {
			t, err := m.Int("times")
			if err != nil {
				return err
			}
			first, last = min(first, t), max(last, t)
			continue
		}
		data, err := m.Bytes(cbor.MajorBytes, "times")
		if err != nil {
			return err
		}
		times := *scratch
		if c.rows > len(times) {
			times = make([]int64, c.rows)
		}
		times = times[:c.rows]
		clear(times)
		if err := decodeColumn(times, data); err != nil {
			return err
		}
		for _, t := range times {
			first, last = min(first, t), max(last, t)
		}
	}
	if first <= last {
		m.claim.Span = uint64(last) - uint64(first)
	}
	return nil
}

// scratchRows is how many times are expanded without asking for memory.
const scratchRows = 1 << 15

// timeScratch holds *[]int64 of scratchRows.
var timeScratch = sync.Pool{New: func() any {
	times := make([]int64, scratchRows)
	return &times
}}
