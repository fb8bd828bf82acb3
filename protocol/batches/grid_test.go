package batches_test

import (
	"reflect"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
)

// TestGridWithAbsentValues: in a grid a multiplexor that several groups carry
// has a value only in the group that saw it last.
func TestGridWithAbsentValues(t *testing.T) {
	const rows, width = 70, 66
	s, id := batchestest.Known(t, batchestest.SchemaOf(protocol.ModeGrid, width))
	e := batches.NewEncoder(s, id)
	want := batches.GroupRows{Columns: make([][]int64, width), Present: make([][]uint64, width)}
	samples := 0
	for row := range rows {
		raw, present := make([]int64, width), []uint64{0, 0}
		for c := range width {
			raw[c] = int64(row * c)
			if row%7 == 0 || (row+c)%3 > 0 {
				present[c/64] |= 1 << (c % 64)
				samples++
			}
		}
		at := int64(row) * 1_000_000
		want.Time = append(want.Time, at)
		for c := range width {
			if present[c/64]>>(c%64)&1 == 0 {
				want.Columns[c] = append(want.Columns[c], 0)
				continue
			}
			want.Columns[c] = append(want.Columns[c], raw[c])
			if want.Present[c] == nil {
				want.Present[c] = make([]uint64, 2)
			}
			want.Present[c][row/64] |= 1 << (row % 64)
		}
		if row%7 == 0 {
			e.Add(0, at, raw)
		} else {
			e.AddChanged(0, at, raw, present)
		}
	}
	if e.Samples() != samples {
		t.Errorf("encoder: got %d samples, want %d", e.Samples(), samples)
	}
	b, _ := recode(t, e, s)
	if got := b.Rows[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("got other rows than were given")
	}
	if b.Samples() != samples {
		t.Errorf("got %d samples, want %d", b.Samples(), samples)
	}
}
