package heap

import "time"

const (
	// tick is the time between two samples; calm is how many of them in turn tell how fast memory is taken.
	tick = time.Second
	calm = 5
	// stays is how long what a collection at rest frees is to stay free, as far as the last samples tell.
	stays = time.Minute
	// Between two collections at rest passes restPause at least, and restShare times what the first one took: all of
	// them together take at most a part in restShare of the time, also when nothing of what they look at has died.
	restPause = 10 * time.Second
	restShare = 200
	// A collection at rest is for at least leastGain bytes, and for a part in gainShare of what lives.
	leastGain = 4 << 20
	gainShare = 4
	// garbageShare is the part of the memory limit that garbage may take at work.
	garbageShare = 4
	// Bounds of GOGC, and the step in which it changes: each change stops the process for a moment.
	leastPercent = 150
	mostPercent  = 400
	percentStep  = 10
)

// sample is what the runtime says of the heap at one time; sizes in bytes.
type sample struct {
	at        time.Time
	allocated uint64 // since the start of the process
	live      uint64 // what the last collection found alive on the heap; 0: there was none
	roots     uint64 // what it found on stacks and in globals
	garbage   uint64 // taken on the heap since: not all of it has died
	free      uint64 // not in use and not given back to the kernel
}

// policy decides by the newest samples. It is owned by Run.
type policy struct {
	limit   int64 // bytes; see Run
	percent int   // GOGC as it was set last; 0: not yet
	samples [calm]sample
	seen    int           // samples so far
	last    time.Time     // of the last collection at rest; zero: none
	took    time.Duration // that one
}

// decide gives the GOGC to have from now on, and whether to collect now.
func (p *policy) decide(s sample) (percent int, collect bool) {
	before := p.samples[p.seen%calm]
	p.samples[p.seen%calm] = s
	p.seen++
	percent = p.atWork(s)
	if p.seen <= calm || !p.last.IsZero() && s.at.Sub(p.last) < max(restPause, restShare*p.took) {
		return percent, false
	}
	gain := s.garbage + s.free
	if gain < max(leastGain, s.live/gainShare) {
		return percent, false
	}
	passed := s.at.Sub(before.at)
	if passed <= 0 { // the clock was set back
		return percent, false
	}
	taken := float64(s.allocated-before.allocated) / passed.Seconds() * stays.Seconds()
	return percent, taken < float64(gain)
}

// atWork is the GOGC with which garbage takes its part of the memory limit.
func (p *policy) atWork(s sample) int {
	marked := max(s.live+s.roots, 1)
	percent := int(min(uint64(max(p.limit, 0))/garbageShare*100/marked, mostPercent))
	return max(percent/percentStep*percentStep, leastPercent)
}

// collected notes a collection at rest.
func (p *policy) collected(at time.Time, took time.Duration) { p.last, p.took = at, took }
