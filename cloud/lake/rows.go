package lake

import (
	"fmt"
	"time"

	"github.com/parquet-go/parquet-go"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// Bounds of a batch, so that a wrong clock costs a wrong date and not a file for
// each of its rows.
const (
	maxTime = 253_402_300_800_000_000 // year 10000 in µs
	maxSpan = 32 * microsPerDay
)

// maxSignals is how many signals, and words of their value tables, are kept ready between commits. It is for all vehicles
// of a stream. Until a commit there are at most as many more as rows wait, with their value tables.
const maxSignals = 200_000

// row is one sample on its way to a file: 24 bytes, so that a quarter of a
// million wait in 6 MB, and their order in another one.
type row struct {
	time   int64  // µs since the Unix epoch
	raw    int64  // as on the bus
	series uint32 // in seriesTable.series
	batch  uint32 // in Lake.batches
}

// batchRef holds the columns that all rows of a batch share.
type batchRef struct {
	vid, did, boot, seq, campaign, purpose, quality, received parquet.Value
}

// signalRef holds the columns that all rows of a signal share. Nothing of it keeps the rest of the schema in memory.
type signalRef struct {
	bus, message, name, path, unit parquet.Value
	signal                         *signal.Signal
	number                         signal.Number
	hasInvalid                     bool // raw values may be no measurements
	nulls                          *nulls
	texts                          map[int64]parquet.Value // of the value table, those that rows had; by signal.Number.Key
}

// signalTable gives each signal that batches have columns of a place, and those of the schemas that they do not use none.
type signalTable struct {
	signals []signalRef
	words   int // of the value tables of all these
	places  map[signalKey]uint32
	nulls   *nulls
}

type signalKey struct {
	schema protocol.SchemaID
	index  uint32 // in Schema.Signals
}

func newSignalTable() signalTable {
	return signalTable{places: make(map[signalKey]uint32), nulls: newNulls()}
}

// trim forgets the signals when many schemas have come and gone. No row may be waiting.
func (t *signalTable) trim() {
	if len(t.signals)+t.words > maxSignals {
		*t = newSignalTable()
	}
}

// place gives the place of a signal, which is the one of this index in the schema, made when missing.
func (t *signalTable) place(id protocol.SchemaID, s *schemas.Schema, index uint32) uint32 {
	key := signalKey{id, index}
	if at, ok := t.places[key]; ok {
		return at
	}
	at := uint32(len(t.signals))
	t.signals = append(t.signals, newSignalRef(s.Signals[index], t.nulls))
	t.words += len(s.Signals[index].Values)
	t.places[key] = at
	return at
}

func newSignalRef(s signal.Signal, nulls *nulls) signalRef {
	return signalRef{
		signal:     &s,
		number:     s.Number(),
		hasInvalid: s.HasInvalid(),
		nulls:      nulls,
		bus:        text(colBus, s.Bus),
		message:    text(colMessage, s.Message),
		name:       text(colSignal, s.Name),
		unit:       optional(colUnit, s.Unit),
		path:       optional(colPath, s.VSS),
	}
}

// Append takes the samples of a vehicle's batch as rows, and keeps neither slice nor map of
// the batch. The purpose is the one under which it was collected, empty: none was given;
// received is when the cloud got it. The error wraps ErrUnfit, and nothing of the batch is taken then.
func (l *Lake) Append(vehicle protocol.VehicleID, campaign protocol.CampaignID, purpose string, received time.Time,
	schema *schemas.Schema, b *batches.Batch) error {
	if l.retrying {
		return fmt.Errorf("lake: append: %w", ErrUncommitted)
	}
	if err := fits(schema, b); err != nil {
		return err
	}
	id := b.ID
	l.batches = append(l.batches, batchRef{
		vid:      text(colVehicle, string(vehicle)),
		did:      text(colDevice, string(id.Device)),
		boot:     text(colBoot, id.Boot.String()),
		seq:      parquet.Int64Value(int64(id.Seq)).Level(0, 0, colSeq),
		campaign: text(colCampaign, string(campaign)),
		purpose:  optional(colPurpose, purpose),
		quality:  optional(colTimeQuality, b.TimeQuality.String()),
		received: parquet.Int64Value(received.UnixMicro()).Level(0, 1, colReceived),
	})
	batch := uint32(len(l.batches) - 1)
	for i := range b.Rows {
		g := &b.Rows[i]
		l.members = l.members[:0]
		for _, member := range schema.Groups[g.Group] {
			l.members = append(l.members, l.series.place(vehicle, l.signals.place(b.Schema, schema, member)))
		}
		l.appendGroup(g, batch)
	}
	return nil
}

// appendGroup takes the samples of one group, row by row. l.members are the series of its columns.
func (l *Lake) appendGroup(g *batches.GroupRows, batch uint32) {
	for i, t := range g.Time {
		for j, series := range l.members {
			if g.Present != nil && g.Present[j] != nil && g.Present[j][i/64]>>(i%64)&1 == 0 {
				continue
			}
			l.rows = append(l.rows, row{time: t, raw: g.Columns[j][i], series: series, batch: batch})
		}
	}
}

// Fits says why a batch cannot be represented; the error wraps ErrUnfit. It may be called
// from any goroutine, at any time.
func (*Lake) Fits(schema *schemas.Schema, b *batches.Batch) error { return fits(schema, b) }

// fits checks what a row cannot hold and what would make readers stumble.
func fits(schema *schemas.Schema, b *batches.Batch) error {
	if schema == nil || b == nil {
		return fmt.Errorf("expected a schema and a batch: %w", ErrUnfit)
	}
	first, last := int64(maxTime), int64(0)
	for i := range b.Rows {
		g := &b.Rows[i]
		if g.Group < 0 || g.Group >= len(schema.Groups) {
			return fmt.Errorf("group %d: expected one of the schema's %d: %w", g.Group, len(schema.Groups), ErrUnfit)
		}
		if err := shape(g, len(schema.Groups[g.Group])); err != nil {
			return err
		}
		for _, t := range g.Time {
			if t < 0 || t >= maxTime {
				return fmt.Errorf("time %d µs: expected 1970 to 9999: %w", t, ErrUnfit)
			}
			first, last = min(first, t), max(last, t)
		}
	}
	if last-first > maxSpan {
		return fmt.Errorf("times: expected at most 32 days in one batch: %w", ErrUnfit)
	}
	return nil
}

// shape checks that all columns of a group are as long as its times.
func shape(g *batches.GroupRows, members int) error {
	if len(g.Columns) != members || g.Present != nil && len(g.Present) != members {
		return fmt.Errorf("group %d: expected %d columns: %w", g.Group, members, ErrUnfit)
	}
	for j, c := range g.Columns {
		if len(c) != len(g.Time) || g.Present != nil && g.Present[j] != nil && len(g.Present[j]) < (len(g.Time)+63)/64 {
			return fmt.Errorf("group %d: expected columns of %d rows: %w", g.Group, len(g.Time), ErrUnfit)
		}
	}
	return nil
}
