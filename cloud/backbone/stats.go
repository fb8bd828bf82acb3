package backbone

import (
	"errors"
	"math/bits"
	"sync/atomic"
	"time"
)

// Stats is what the backbone did since Open.
type Stats struct {
	Stored      uint64 // messages on disk
	Batches     uint64 // commits of several messages as one
	Singles     uint64 // messages committed alone
	Fallbacks   uint64 // batches that the server refused as a whole, then committed in parts
	Busy        uint64 // messages refused with ErrBusy
	Full        uint64 // … with ErrFull
	Invalid     uint64 // … with ErrInvalid or ErrTooLarge
	Refused     uint64 // … with any other error
	Conflicts   uint64 // conditional messages whose condition did not hold
	Timers      int    // scheduled and not fired to the end, of all kinds; zero until the first Backbone.Timers
	Fired       uint64 // timers whose handler returned without an error
	FireFailed  uint64 // calls of a handler that returned an error
	Foreign     uint64 // messages of grouped streams that others stored there; they are passed over
	Queued      int    // messages that wait now, in all committers
	QueuedBytes int
	// Latency is from Publish until on disk.
	Latency Histogram
}

// Histogram counts durations in classes that each end a quarter above the one before, about.
type Histogram struct {
	Counts [latencyClasses]uint64
	Sum    time.Duration
}

// latencyClasses: four classes to each doubling of a microsecond, up to 2^27 µs, 134 s.
const latencyClasses = 4 * 28

// Bound is the upper end of class i, from 0.
func (Histogram) Bound(i int) time.Duration {
	power, quarter := i/4, i%4
	return time.Duration(4+quarter+1) * time.Microsecond << power / 4
}

// Count is the number of durations in all classes.
func (h Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Quantile gives the duration that the part q (0 to 1) of all did not exceed, at
// most a quarter too large; zero when there are none.
func (h Histogram) Quantile(q float64) time.Duration {
	total := h.Count()
	if total == 0 {
		return 0
	}
	rank := uint64(q * float64(total))
	for i, c := range h.Counts {
		if rank < c || i == latencyClasses-1 {
			return h.Bound(i)
		}
		rank -= c
	}
	return h.Bound(latencyClasses - 1)
}

// class is the index of the class of d.
func class(d time.Duration) int {
	us := uint64(max(d/time.Microsecond, 1))
	power := bits.Len64(us) - 1
	quarter := int(us<<2>>power) & 3 // the two bits after the leading one
	return min(4*power+quarter, latencyClasses-1)
}

// counters behind Stats.
type counters struct {
	batches, singles, fallbacks  atomic.Uint64
	busy, full, invalid, refused atomic.Uint64
	conflicts, fired, fireFailed atomic.Uint64
	foreign                      atomic.Uint64
	sum                          atomic.Int64
	classes                      [latencyClasses]atomic.Uint64
}

// stored counts one message on disk, took after its Publish.
func (c *counters) stored(took time.Duration) {
	c.classes[class(took)].Add(1)
	c.sum.Add(int64(took))
}

// refuse counts one message that was not stored.
func (c *counters) refuse(err error) {
	switch {
	case errors.Is(err, ErrBusy):
		c.busy.Add(1)
	case errors.Is(err, ErrFull):
		c.full.Add(1)
	case errors.Is(err, ErrInvalid), errors.Is(err, ErrTooLarge):
		c.invalid.Add(1)
	case errors.Is(err, ErrConflict):
		c.conflicts.Add(1)
	default:
		c.refused.Add(1)
	}
}

// Stats gives a snapshot. The numbers are read one after the other.
func (b *Backbone) Stats() Stats {
	c := &b.stats
	s := Stats{
		Batches: c.batches.Load(), Singles: c.singles.Load(), Fallbacks: c.fallbacks.Load(),
		Busy: c.busy.Load(), Full: c.full.Load(), Invalid: c.invalid.Load(), Refused: c.refused.Load(), Conflicts: c.conflicts.Load(),
		Fired: c.fired.Load(), FireFailed: c.fireFailed.Load(), Foreign: c.foreign.Load(),
	}
	if book := b.book.Load(); book != nil {
		s.Timers = book.scheduled()
	}
	for i := range c.classes {
		s.Latency.Counts[i] = c.classes[i].Load()
	}
	s.Latency.Sum = time.Duration(c.sum.Load())
	s.Stored = s.Latency.Count()
	for _, l := range b.declared.Load().names {
		messages, bytes := l.queued()
		s.Queued += messages
		s.QueuedBytes += bytes
	}
	return s
}
