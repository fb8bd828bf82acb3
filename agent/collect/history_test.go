package collect

import (
	"testing"
)

// seen gives the times that a history has from a time on, and checks the values.
func seen(t *testing.T, h *history, from int64) (times []int64) {
	t.Helper()
	h.each(from, func(group int32, at int64, raw []int64) {
		if int64(group) != at%7 || len(raw) != 3 || raw[0] != at || raw[2] != -at {
			t.Fatalf("got group %d with %v at %d", group, raw, at)
		}
		times = append(times, at)
	})
	return times
}

func fill(h *history, from, to, step int64) {
	for at := from; at < to; at += step {
		h.add(int32(at%7), at, []int64{at, 0, -at})
	}
}

// TestHistoryByTime: what is younger than the depth is there, in order; what is much older is not.
func TestHistoryByTime(t *testing.T) {
	const second = 1_000_000
	h := history{}
	h.keep(10 * second)
	fill(&h, 0, 100*second, 1000)
	times := seen(t, &h, 90*second)
	if len(times) != 10_000 || times[0] != 90*second {
		t.Errorf("got %d rows from %d on", len(times), times[0])
	}
	if oldest := seen(t, &h, 0)[0]; oldest < 84*second {
		t.Errorf("got a row of %d s", oldest/second)
	}
	if h.gone != 0 {
		t.Errorf("got %d rows gone before their time", h.gone)
	}
	if allocs := testing.AllocsPerRun(10, func() { fill(&h, h.newest+1000, h.newest+5*second, 1000) }); allocs > 0 {
		t.Errorf("got %v allocations, want none", allocs)
	}
	h.keep(0)
	if len(seen(t, &h, 0)) != 0 || h.chunks != nil || h.free != nil {
		t.Error("rows are kept for nobody")
	}
}

// TestHistoryIsBounded: the oldest go first, and are counted.
func TestHistoryIsBounded(t *testing.T) {
	h := history{}
	h.keep(1 << 60)
	const rows = 400_000
	fill(&h, 1, rows+1, 1)
	times := seen(t, &h, 0)
	if len(h.chunks) > maxChunks || uint64(len(times))+h.gone != rows || times[len(times)-1] != rows {
		t.Errorf("got %d chunks, %d rows, %d gone", len(h.chunks), len(times), h.gone)
	}
	for i := range times[1:] {
		if times[i+1] != times[i]+1 {
			t.Fatalf("got %d after %d", times[i+1], times[i])
		}
	}
	values := 0
	for _, c := range append(h.chunks, h.free...) {
		values += cap(c.raw)
	}
	if values > (maxChunks+1)*chunkValues {
		t.Errorf("got memory for %d values", values)
	}
}

// TestHistoryClock: a clock that is set back begins a new history; one source that is behind another does not.
func TestHistoryClock(t *testing.T) {
	h := history{}
	h.keep(1000)
	fill(&h, 10_000_000, 10_000_010, 1)
	fill(&h, 9_000_000, 9_000_003, 1)
	if got := len(seen(t, &h, 0)); got != 13 {
		t.Errorf("got %d rows, want 13", got)
	}
	fill(&h, 5_000_000, 5_000_004, 1)
	if got := len(seen(t, &h, 0)); got != 4 {
		t.Errorf("got %d rows, want those of after the clock was set", got)
	}
	h.clear()
	if len(seen(t, &h, 0)) != 0 {
		t.Error("got rows after clear")
	}
}
