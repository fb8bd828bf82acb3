package lake

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// rowType is a row as Parquet sees it; the fields give the columns their order.
// Times are source times. A column that every row fills is required; path is
// null until the vehicle's signal has a VSS path, and text when the value table
// has none for raw. A value that is not a number is a NaN, never null.
type rowType struct {
	Time     int64   `parquet:"time,timestamp(microsecond),delta"`
	Vehicle  string  `parquet:"vid,dict"`
	Device   string  `parquet:"did,dict"`
	Boot     string  `parquet:"boot,dict"`
	Seq      int64   `parquet:"seq,delta"`
	Campaign string  `parquet:"campaign,dict"`
	Bus      string  `parquet:"bus,dict"`
	Message  string  `parquet:"message,dict"`
	Signal   string  `parquet:"signal,dict"`
	Path     *string `parquet:"path,optional,dict"`
	Value    float64 `parquet:"value,dict"`
	Raw      int64   `parquet:"raw,dict"`
	Text     *string `parquet:"text,optional,dict"`
	Unit     string  `parquet:"unit,dict"`
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

func optional(column int, s string) parquet.Value {
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
func (p *partWriter) write(out io.Writer, rows []row, batches []batchRef, signals []signalRef) error {
	file := parquet.NewGenericWriter[rowType](out,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}),
		parquet.PageBufferSize(pageBytes),
		parquet.DictionaryMaxBytes(maxDictionary),
		parquet.SkipPageBounds("value"), // NaN has no place in an order
		parquet.CreatedBy("telltale", "1", ""),
	)
	for start := 0; start < len(rows); start += rowGroupRows {
		if err := p.writeGroup(file, rows[start:min(start+rowGroupRows, len(rows))], batches, signals); err != nil {
			return fmt.Errorf("row group: %w", err)
		}
	}
	return file.Close()
}

func (p *partWriter) writeGroup(file *parquet.GenericWriter[rowType], rows []row, batches []batchRef, signals []signalRef) error {
	writers := file.ColumnWriters()
	for len(rows) > 0 {
		n := min(chunkRows, len(rows))
		p.fill(rows[:n], batches, signals)
		for c, w := range writers {
			if _, err := w.WriteRowValues(p.values[c][:n]); err != nil {
				return err
			}
		}
		rows = rows[n:]
	}
	return file.Flush()
}

// fill turns rows into columns.
func (p *partWriter) fill(rows []row, batches []batchRef, signals []signalRef) {
	if p.values[0] == nil {
		for c := range p.values {
			p.values[c] = make([]parquet.Value, chunkRows)
		}
	}
	for i := range rows {
		r := &rows[i]
		b, s := &batches[r.batch], &signals[r.signal]
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
		p.values[colValue][i] = parquet.DoubleValue(s.signal.Physical(r.raw)).Level(0, 0, colValue)
		p.values[colRaw][i] = parquet.Int64Value(r.raw).Level(0, 0, colRaw)
		p.values[colText][i] = s.text(r.raw)
		p.values[colUnit][i] = s.unit
	}
}

// text is the value table's word for raw, or null.
func (s *signalRef) text(raw int64) parquet.Value {
	if key, ok := s.signal.Number().Key(raw); ok {
		if v, ok := s.texts[key]; ok {
			return v
		}
	}
	return null(colText)
}
