// Package heap says when the process of the cloud collects its garbage, and when it gives memory back to the kernel.
//
// A constant GOGC has one answer for two situations. While thousands of vehicles connect or publish, each collection
// marks all that lives for little gain; once they rest, garbage that nobody collects is most of what a connection takes.
// So there are two rules:
//
//	at work  garbage may grow to a quarter of the memory limit, but to no less than 1.5 and no more than 4 times what lives
//	at rest  when what a collection frees stays free for a minute and more, it is done, and the memory given back
//
// The bounds are of the process, for all vehicles together; nobody is refused anything by them. Beside them the memory
// limit of the runtime stays in force. A collection at rest costs about a millisecond of CPU for each megabyte that
// lives; there is at most one in restPause, and together they take at most a part in restShare of the time.
//
// The package is not for bounds of what rooms keep: each room has its own.
package heap

import (
	"context"
	"runtime/debug"
	"time"
)

// Run sets the memory limit of the process, in bytes, and applies the rules until ctx ends. It is called once, by main.
// The settings stay when it returns.
func Run(ctx context.Context, limit int64) {
	debug.SetMemoryLimit(limit)
	p := policy{limit: limit}
	every := time.NewTicker(tick)
	defer every.Stop()
	for {
		p.apply(read(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// apply does what the rules say of a sample.
func (p *policy) apply(s sample) {
	percent, collect := p.decide(s)
	if percent != p.percent {
		debug.SetGCPercent(percent)
		p.percent = percent
	}
	if !collect {
		return
	}
	began := time.Now()
	debug.FreeOSMemory() // collects first
	p.collected(s.at, time.Since(began))
}
