package session

import (
	"math/rand/v2"
	"time"
)

// Backoff gives waits with decorrelated jitter: each is drawn between min and
// three times the last one, and is at most max. A fleet that lost its server in
// one instant does not come back in one.
// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
type Backoff struct {
	Min, Max time.Duration // both above zero
	First    time.Duration // bound of the wait before the first attempt; ≤ 0: none
	last     time.Duration // zero: the next attempt is the first
}

// Reset makes the next attempt the first one.
func (b *Backoff) Reset() { b.last = 0 }

// Next draws the wait before the next attempt.
func (b *Backoff) Next() time.Duration {
	if b.last == 0 {
		b.last = b.Min
		if b.First <= 0 {
			return 0
		}
		return rand.N(b.First + 1)
	}
	b.last = Jitter(b.Min, b.Max, b.last)
	return b.last
}

// Jitter draws from min to three times last, at most max.
func Jitter(lowest, highest, last time.Duration) time.Duration {
	return min(highest, lowest+rand.N(max(3*last-lowest, 0)+1))
}
