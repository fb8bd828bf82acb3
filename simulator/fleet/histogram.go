package fleet

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram has a bucket for each µs below 2^subBits × 2, and from there
// 2^subBits buckets for each doubling, so that a value is off by 1/32 at most.
const (
	subBits = 5
	// maxMicros is the largest latency told apart: 2^32 µs, over an hour.
	maxMicros  = 1<<32 - 1
	numBuckets = (32-subBits)<<subBits + 1<<subBits
)

// Histogram counts latencies. Recording allocates nothing and takes no lock; it
// may be done from any goroutine. The zero Histogram is empty.
type Histogram struct {
	counts [numBuckets]atomic.Uint64
	max    atomic.Int64 // ns, exact
}

// Record counts one latency; a negative one counts as 0.
func (h *Histogram) Record(d time.Duration) {
	h.counts[bucket(d)].Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// bucket gives the index for a latency.
func bucket(d time.Duration) int {
	v := uint64(min(max(d.Microseconds(), 0), maxMicros))
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// upper is the largest latency that a bucket holds, in whole µs.
func upper(index int) time.Duration {
	shift := max(index>>subBits-1, 0)
	v := uint64(index-shift<<subBits+1)<<shift - 1
	return time.Duration(v) * time.Microsecond
}

// Counts is what a Histogram held at one moment.
type Counts struct {
	buckets [numBuckets]uint64
	total   uint64
	max     time.Duration
}

// Load copies what was recorded so far into c.
func (h *Histogram) Load(c *Counts) {
	c.total = 0
	for i := range h.counts {
		c.buckets[i] = h.counts[i].Load()
		c.total += c.buckets[i]
	}
	c.max = time.Duration(h.max.Load())
}

// Since takes away what an earlier Load saw, so that the rest is what came in
// between. The maximum stays that of all.
func (c *Counts) Since(earlier *Counts) {
	for i := range c.buckets {
		c.buckets[i] -= earlier.buckets[i]
	}
	c.total -= earlier.total
}

// Total is how many latencies were counted.
func (c *Counts) Total() uint64 { return c.total }

// Max is the largest latency, exactly.
func (c *Counts) Max() time.Duration { return c.max }

// Quantile is the latency that a share q (0 to 1) of all does not exceed, up to
// 1/32 too large; 0 when nothing was counted.
func (c *Counts) Quantile(q float64) time.Duration {
	if c.total == 0 {
		return 0
	}
	rank := max(uint64(q*float64(c.total)+0.5), 1)
	seen := uint64(0)
	for i, n := range c.buckets {
		if seen += n; seen >= rank {
			return min(upper(i), c.max)
		}
	}
	return c.max
}
