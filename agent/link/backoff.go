package link

import (
	"math/rand/v2"
	"time"
)

// backoff gives waits with decorrelated jitter: each is drawn between min and
// three times the last one, and is at most max. A fleet that lost its server in
// one instant does not come back in one.
// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
type backoff struct {
	min, max time.Duration
	first    time.Duration // bound of the wait before the first attempt; ≤ 0: none
	last     time.Duration // zero: the next attempt is the first
}

// reset makes the next attempt the first one.
func (b *backoff) reset() { b.last = 0 }

// next draws the wait before the next attempt.
func (b *backoff) next() time.Duration {
	if b.last == 0 {
		b.last = b.min
		if b.first <= 0 {
			return 0
		}
		return rand.N(b.first + 1)
	}
	b.last = decorrelated(b.min, b.max, b.last)
	return b.last
}

// decorrelated draws from min to three times last, at most max.
func decorrelated(lowest, highest, last time.Duration) time.Duration {
	return min(highest, lowest+rand.N(max(3*last-lowest, 0)+1))
}
