package batches_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/schemas"
)

// ticks are the steps of times that a campaign may choose, in µs.
var ticks = []int64{1, 10, 100, 1000}

// withTick gives the schema of a recording with other steps of times.
func (r *recording) withTick(t testing.TB, mode protocol.Mode, tick int64) (*schemas.Schema, protocol.SchemaID) {
	t.Helper()
	s, _ := r.schema(t, mode)
	s.Tick = tick
	_, hash, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return s, hash.ID()
}

// TestTickSizes keeps what finer steps of times cost, as TestSizes does.
func TestTickSizes(t *testing.T) {
	var got strings.Builder
	for _, name := range names {
		r := load(t, name)
		for _, tick := range ticks {
			s, id := r.withTick(t, protocol.ModeAll, tick)
			e := batches.NewEncoder(s, id)
			var size, samples int
			drive(e, r.rows, 10*time.Second, func() {
				payload, err := e.Encode(batchestest.Header, nil)
				if err != nil {
					t.Fatal(err)
				}
				size, samples = size+len(payload), samples+e.Samples()
				e.Reset()
			})
			fmt.Fprintf(&got, "%s %4d µs: %d bytes, %d samples, %.4f bytes a sample\n", name, tick, size, samples, float64(size)/float64(samples))
		}
	}
	golden(t, "tick-sizes.txt", got.String())
}

// TestTicks: times come back cut to the step, before 1970 too, and rows of a message within
// one step in the order in which they were added.
func TestTicks(t *testing.T) {
	for _, tick := range ticks {
		made := batchestest.SchemaOf(protocol.ModeAll, 1)
		made.Tick = tick
		s, id := batchestest.Known(t, made)
		e := batches.NewEncoder(s, id)
		times := []int64{-1, 0, 0, 1, 9, 10, 999, 1000, 1001, 1_700_000_000_123_456, 1_700_000_000_123_456, 1_700_000_000_123_457}
		for i, at := range times {
			e.Add(0, at, []int64{int64(len(times) - i)})
		}
		b, _ := recode(t, e, s)
		for i, at := range times {
			want := at - ((at%tick)+tick)%tick
			if got := b.Rows[0].Time[i]; got != want || b.Rows[0].Columns[0][i] != int64(len(times)-i) {
				t.Errorf("step %d, row %d: got %d at %d µs, want %d at %d", tick, i, b.Rows[0].Columns[0][i], got, len(times)-i, want)
			}
		}
	}
}
