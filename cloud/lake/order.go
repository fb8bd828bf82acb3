package lake

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/parquet-go/parquet-go"

	"telltale.dev/protocol"
)

// sorting is the order of rows in each file, and so in each of its row groups, as the
// footer declares it. Rows of one batch, signal and time stay in the order in which the batch has them.
func sorting() []parquet.SortingColumn {
	return []parquet.SortingColumn{
		parquet.Ascending("vid"), parquet.Ascending("bus"), parquet.Ascending("message"), parquet.Ascending("signal"), parquet.Ascending("time"),
		parquet.Ascending("boot"), parquet.Ascending("seq"),
	}
}

// seriesTable gives each signal of each vehicle that has rows waiting a number. It is emptied
// by a commit, and never longer than the rows that wait.
type seriesTable struct {
	series []series
	places map[series]uint32
}

// series is a signal of a vehicle.
type series struct {
	vehicle protocol.VehicleID
	signal  uint32 // in signalTable.signals
}

// place gives the series of a signal, made when missing.
func (t *seriesTable) place(vehicle protocol.VehicleID, signal uint32) uint32 {
	s := series{vehicle, signal}
	if at, ok := t.places[s]; ok {
		return at
	}
	if t.places == nil {
		t.places = make(map[series]uint32)
	}
	at := uint32(len(t.series))
	t.series = append(t.series, s)
	t.places[s] = at
	return at
}

func (t *seriesTable) clear() {
	t.series = t.series[:0]
	clear(t.places)
}

// ranks gives the place of each series in the order of vehicle, bus, message and signal, from
// 0, and the number of places. Series of the same names, which several schemas may have, share one.
func (t *seriesTable) ranks(signals []signalRef) (ranks []uint32, places int) {
	compare := func(a, b uint32) int {
		x, y := &t.series[a], &t.series[b]
		if c := cmp.Compare(x.vehicle, y.vehicle); c != 0 || x.signal == y.signal {
			return c
		}
		s, u := &signals[x.signal], &signals[y.signal]
		if c := bytes.Compare(s.bus.ByteArray(), u.bus.ByteArray()); c != 0 {
			return c
		}
		if c := bytes.Compare(s.message.ByteArray(), u.message.ByteArray()); c != 0 {
			return c
		}
		return bytes.Compare(s.name.ByteArray(), u.name.ByteArray())
	}
	sorted := make([]uint32, len(t.series))
	for i := range sorted {
		sorted[i] = uint32(i)
	}
	slices.SortFunc(sorted, compare)
	ranks = make([]uint32, len(t.series))
	for i, s := range sorted {
		if i > 0 && compare(sorted[i-1], s) != 0 {
			places++
		}
		ranks[s] = uint32(places)
	}
	return ranks, places + 1
}

// compare gives the order of two batches of one vehicle: by boot, then by sequence.
func (b *batchRef) compare(c *batchRef) int {
	return cmp.Or(bytes.Compare(b.boot.ByteArray(), c.boot.ByteArray()), cmp.Compare(b.seq.Int64(), c.seq.Int64()))
}

// arrange gives the order in which rows are written, as places in rows: by rank, then by time, then by
// batch, since the batches of a vehicle may have been appended in another order than they were made.
// The rows of one rank are nearly always in that order already, so that counting them
// is nearly all that has to be done. The result shares the memory of order.
func arrange(rows []row, batches []batchRef, ranks []uint32, places int, order []uint32) []uint32 {
	ends := make([]int, places+1)
	for i := range rows {
		ends[ranks[rows[i].series]+1]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	order = slices.Grow(order[:0], len(rows))[:len(rows)]
	for i := range rows {
		at := &ends[ranks[rows[i].series]] // where the rank begins, and in the end where the next one does
		order[*at] = uint32(i)
		*at++
	}
	inTime := func(a, b uint32) int {
		r, s := &rows[a], &rows[b]
		if r.time != s.time || r.batch == s.batch {
			return cmp.Compare(r.time, s.time)
		}
		return batches[r.batch].compare(&batches[s.batch])
	}
	begin := 0
	for _, end := range ends[:places] {
		if same := order[begin:end]; !slices.IsSortedFunc(same, inTime) {
			slices.SortStableFunc(same, inTime)
		}
		begin = end
	}
	return order
}
