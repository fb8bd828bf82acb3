package fleet_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"telltale.dev/simulator/fleet"
)

func load(h *fleet.Histogram) *fleet.Counts {
	var c fleet.Counts
	h.Load(&c)
	return &c
}

// TestHistogramError compares with the sorted values themselves.
func TestHistogramError(t *testing.T) {
	spread := map[string]func(*rand.Rand) time.Duration{
		"below 64 µs": func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(64)) * time.Microsecond },
		"milliseconds": func(r *rand.Rand) time.Duration {
			return time.Duration(1 + r.ExpFloat64()*20e6)
		},
		"seconds": func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(100 * time.Second))) },
		"all magnitudes": func(r *rand.Rand) time.Duration {
			return time.Duration(1) << r.IntN(41) * time.Duration(1+r.IntN(3))
		},
	}
	for name, next := range spread {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var h fleet.Histogram
			values := make([]time.Duration, 10_000)
			for i := range values {
				values[i] = next(r)
				h.Record(values[i])
			}
			slices.Sort(values)
			c := load(&h)
			if got, want := c.Total(), uint64(len(values)); got != want {
				t.Fatalf("total: got %d, want %d", got, want)
			}
			if got, want := c.Max(), values[len(values)-1]; got != want {
				t.Errorf("max: got %v, want %v", got, want)
			}
			for _, q := range []float64{0.001, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
				got, want := c.Quantile(q), values[int(q*float64(len(values)))-1].Truncate(time.Microsecond)
				if got < want || got > want+want/32+time.Microsecond {
					t.Errorf("quantile %v: got %v, want %v and 1/32 more at most", q, got, want)
				}
			}
		})
	}
}

func TestHistogramEdges(t *testing.T) {
	var h fleet.Histogram
	if got := load(&h).Quantile(0.5); got != 0 {
		t.Errorf("median of nothing: got %v, want 0", got)
	}
	h.Record(-time.Second)
	if got := load(&h).Quantile(1); got != 0 {
		t.Errorf("negative latency: got %v, want 0", got)
	}
	h.Record(48 * time.Hour)
	if got, want := load(&h).Max(), 48*time.Hour; got != want {
		t.Errorf("max beyond the range: got %v, want %v", got, want)
	}
	if got := load(&h).Quantile(1); got < time.Hour {
		t.Errorf("quantile beyond the range: got %v, want over an hour", got)
	}
}

func TestHistogramSince(t *testing.T) {
	var h fleet.Histogram
	for range 100 {
		h.Record(time.Millisecond)
	}
	before := load(&h)
	for range 10 {
		h.Record(time.Second)
	}
	now := load(&h)
	now.Since(before)
	if got, want := now.Total(), uint64(10); got != want {
		t.Errorf("total since: got %d, want %d", got, want)
	}
	if got := now.Quantile(0.01); got < 900*time.Millisecond {
		t.Errorf("quantile since: got %v, want about 1 s", got)
	}
}

// TestHistogramConcurrent lets goroutines record at once.
func TestHistogramConcurrent(t *testing.T) {
	var h fleet.Histogram
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 1000 {
				h.Record(time.Duration(i) * time.Millisecond)
			}
		})
	}
	group.Wait()
	if got, want := load(&h).Total(), uint64(8000); got != want {
		t.Errorf("total: got %d, want %d", got, want)
	}
	if got := testing.AllocsPerRun(100, func() { h.Record(time.Millisecond) }); got != 0 {
		t.Errorf("allocations: got %v, want 0", got)
	}
}

func BenchmarkHistogram(b *testing.B) {
	var h fleet.Histogram
	b.ReportAllocs()
	for b.Loop() {
		h.Record(1234 * time.Microsecond)
	}
}
