package downlink

import (
	"context"
	"time"
)

// What comes in is written to flash at most writesAtOnce times and with bytesAtOnce of payload in a row, and then once in each
// writeInterval and with bytesPerSecond: so a server that sends without end does not wear it out. The bounds are for all kinds
// together. Messages of QoS 1 are written by the inbox. When the bounds are reached all of them wait, since they keep
// their order. A message of QoS 0 counts as if it were written, because its receiver may write it: a document is kept.
// It never waits: it is dropped when less than half of either bound is left, so that a flood of them delays no others.
const (
	writesAtOnce   = 64
	writeInterval  = 100 * time.Millisecond
	bytesAtOnce    = 8 << 20
	bytesPerSecond = 64 << 10
)

// pace is what may be written at once now. Owned by the writer.
type pace struct {
	writes, bytes float64 // below zero: as much has been promised to those who wait
	filled        time.Time
}

func newPace(now time.Time) pace { return pace{writes: writesAtOnce, bytes: bytesAtOnce, filled: now} }

// fill adds what the time since the last call allows. A clock that was set back does no harm: it is the monotonic one.
func (p *pace) fill(now time.Time) {
	passed := max(now.Sub(p.filled), 0)
	p.writes = min(p.writes+float64(passed)/float64(writeInterval), writesAtOnce)
	p.bytes = min(p.bytes+passed.Seconds()*bytesPerSecond, bytesAtOnce)
	p.filled = now
}

// take counts a write of a payload and gives how long it has to wait.
func (p *pace) take(payload int, now time.Time) time.Duration {
	p.fill(now)
	p.writes, p.bytes = p.writes-1, p.bytes-float64(payload)
	return max(0, time.Duration(-p.writes*float64(writeInterval)), time.Duration(-p.bytes/bytesPerSecond*float64(time.Second)))
}

// spare counts a write that must not wait; false, and nothing is counted, when there is too little left for it.
func (p *pace) spare(payload int, now time.Time) bool {
	p.fill(now)
	if p.writes-1 < writesAtOnce/2 || p.bytes-float64(payload) < bytesAtOnce/2 {
		return false
	}
	p.writes, p.bytes = p.writes-1, p.bytes-float64(payload)
	return true
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wait.C:
		return true
	}
}
