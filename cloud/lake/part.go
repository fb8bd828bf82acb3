package lake

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"telltale.dev/protocol/signal"
)

// rowType is a row as Parquet sees it; the fields give the columns their order, and the
// package comment says what they mean. Columns are added at the end and stay of their type,
// so that readers that go by name read old parts and new ones together. What every row has is
// required, but for what older parts lack.
type rowType struct {
	Time     int64    `parquet:"time,timestamp(microsecond)"` // plain: the times of a message are those of each of its signals
	Vehicle  string   `parquet:"vid,dict"`
	Device   string   `parquet:"did,dict"`
	Boot     string   `parquet:"boot,dict"`
	Seq      int64    `parquet:"seq,delta"`
	Campaign string   `parquet:"campaign,dict"`
	Bus      string   `parquet:"bus,dict"`
	Message  string   `parquet:"message,dict"`
	Signal   string   `parquet:"signal,dict"`
	Path     *string  `parquet:"path,optional,dict"`
	Value    *float64 `parquet:"value,optional,dict"`
	Raw      int64    `parquet:"raw,optional,delta"`
	Text     *string  `parquet:"text,optional,dict"`
	Unit     *string  `parquet:"unit,optional,dict"`
	Bits     *uint64  `parquet:"raw_bits,optional,dict"`
	Validity *string  `parquet:"quality,optional,dict"`
	Purpose  *string  `parquet:"purpose,optional,dict"`
	Quality  *string  `parquet:"time_quality,optional,dict"`
	Received *int64   `parquet:"received,optional,timestamp(microsecond),dict"`
}

// Places of the columns in rowType.
const (
	colTime = iota
	colVehicle
	colDevice
	colBoot
	colSeq
	colCampaign
	colBus
	colMessage
	colSignal
	colPath
	colValue
	colRaw
	colText
	colUnit
	colBits
	colValidity
	colPurpose
	colTimeQuality
	colReceived
	columns
)

// Sizes of a part's pieces.
const (
	chunkRows     = 1024      // rows handed over at once, a column at a time
	pageBytes     = 256 << 10 // of a column before compression
	rowGroupRows  = 1 << 20   // readers hold one group of one column at a time
	maxDictionary = 1 << 20   // bytes of distinct values of a column, then it is written plain
)

func text(column int, s string) parquet.Value {
	return parquet.ByteArrayValue([]byte(s)).Level(0, 0, column)
}

// optional is null for an empty text.
func optional(column int, s string) parquet.Value {
	if s == "" {
		return null(column)
	}
	return given(column, s)
}

func given(column int, s string) parquet.Value {
	return parquet.ByteArrayValue([]byte(s)).Level(0, 1, column)
}

func null(column int) parquet.Value { return parquet.NullValue().Level(0, 0, column) }

// partWriter writes files of rows, reusing its buffers. The zero value is ready.
type partWriter struct {
	values [columns][]parquet.Value
}

// write writes a whole file of rows to out.
//
// Each file has a writer of its own: parquet-go v0.32's Reset wipes the names of
// the columns from the footers of all later files, which readers that go by
// these names refuse.
func (p *partWriter) write(out io.Writer, rows *ordered) error {
	file := parquet.NewGenericWriter[rowType](out,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}),
		parquet.PageBufferSize(pageBytes),
		parquet.DictionaryMaxBytes(maxDictionary),
		parquet.SkipPageBounds("value"), // NaN has no place in an order
		parquet.SortingWriterConfig(parquet.SortingColumns(sorting()...)),
		parquet.CreatedBy("telltale", "1", ""),
	)
	for start := 0; start < len(rows.order); start += rowGroupRows {
		if err := p.writeGroup(file, rows, rows.order[start:min(start+rowGroupRows, len(rows.order))]); err != nil {
			return fmt.Errorf("row group: %w", err)
		}
	}
	return file.Close()
}

func (p *partWriter) writeGroup(file *parquet.GenericWriter[rowType], rows *ordered, order []uint32) error {
	writers := file.ColumnWriters()
	for len(order) > 0 {
		n := min(chunkRows, len(order))
		p.fill(rows, order[:n])
		for c, w := range writers {
			if _, err := w.WriteRowValues(p.values[c][:n]); err != nil {
				return err
			}
		}
		order = order[n:]
	}
	return file.Flush()
}

// ordered are rows in the order in which they are written, and what they refer to.
type ordered struct {
	rows    []row
	order   []uint32 // places in rows
	batches []batchRef
	series  []series
	signals []signalRef
}

// fill turns rows into columns.
func (p *partWriter) fill(rows *ordered, order []uint32) {
	if p.values[0] == nil {
		for c := range p.values {
			p.values[c] = make([]parquet.Value, chunkRows)
		}
	}
	for i, place := range order {
		r := &rows.rows[place]
		b, s := &rows.batches[r.batch], &rows.signals[rows.series[r.series].signal]
		p.values[colTime][i] = parquet.Int64Value(r.time).Level(0, 0, colTime)
		p.values[colVehicle][i] = b.vid
		p.values[colDevice][i] = b.did
		p.values[colBoot][i] = b.boot
		p.values[colSeq][i] = b.seq
		p.values[colCampaign][i] = b.campaign
		p.values[colBus][i] = s.bus
		p.values[colMessage][i] = s.message
		p.values[colSignal][i] = s.name
		p.values[colPath][i] = s.path
		p.values[colValue][i], p.values[colValidity][i] = s.value(r.raw)
		p.values[colRaw][i], p.values[colBits][i] = s.raw(r.raw)
		p.values[colText][i] = s.text(r.raw)
		p.values[colUnit][i] = s.unit
		p.values[colPurpose][i] = b.purpose
		p.values[colTimeQuality][i] = b.quality
		p.values[colReceived][i] = b.received
	}
}

// value is the physical value, and null; or null, and why raw is no measurement.
func (s *signalRef) value(raw int64) (value, validity parquet.Value) {
	if s.hasInvalid {
		if v := s.signal.Validity(raw); v != signal.Valid {
			return s.nulls.value, given(colValidity, v.String())
		}
	}
	return parquet.DoubleValue(s.number.Physical(raw)).Level(0, 1, colValue), s.nulls.validity
}

// raw is the integer on the bus, and null; or null, and the bits of what is no integer of 64 bits with a sign.
func (s *signalRef) raw(raw int64) (integer, bits parquet.Value) {
	if v, ok := s.number.Integer(raw); ok {
		return parquet.Int64Value(v).Level(0, 1, colRaw), s.nulls.bits
	}
	return s.nulls.raw, parquet.Int64Value(int64(s.number.Bits(raw))).Level(0, 1, colBits)
}

// nulls are those of the columns that differ from row to row: made once, since rows are many.
type nulls struct {
	value, validity, raw, bits, text parquet.Value
}

func newNulls() *nulls {
	return &nulls{null(colValue), null(colValidity), null(colRaw), null(colBits), null(colText)}
}

// text is the value table's word for raw, or null.
func (s *signalRef) text(raw int64) parquet.Value {
	if key, ok := s.number.Key(raw); ok {
		if v, ok := s.texts[key]; ok {
			return v
		}
		if word, ok := s.signal.Values[key]; ok {
			if s.texts == nil {
				s.texts = make(map[int64]parquet.Value)
			}
			s.texts[key] = given(colText, word)
			return s.texts[key]
		}
	}
	return s.nulls.text
}
