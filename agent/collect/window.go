package collect

import (
	"context"
	"slices"

	"telltale.dev/agent/campaign"
	"telltale.dev/agent/signals"
)

// Bounds of captures that are open at once, for the vehicle. A moment beyond
// them begins no capture and is counted: the samples that its rule would have
// taken are not.
const (
	maxPerRule  = 4 // windows of one rule that overlap
	maxCaptures = 16
)

// maxReplay is about how many raw values of the past go into one block.
const maxReplay = 1 << 15

// fire opens a capture for each rule whose trigger fires at a row.
func (c *Collector) fire(ctx context.Context, row *signals.Row, raw []int64) {
	for _, rule := range c.armed {
		if !rule.Window.Trigger.Fires(row.Group, row.Time, raw) {
			continue
		}
		open, all := 0, 0
		for _, r := range c.recorders {
			if r.window() {
				all++
			}
			if r.armed == rule {
				open++
			}
		}
		if open >= maxPerRule || all >= maxCaptures {
			c.stats.missed.Add(1)
			continue
		}
		c.begin(ctx, rule, row.Time)
	}
}

// begin opens a capture of a rule at a moment and gives it the past.
func (c *Collector) begin(ctx context.Context, rule *campaign.Rule, moment int64) {
	w := rule.Window
	r := newRecorder(rule, len(c.program.Catalogue.Sources))
	r.armed, r.from, r.until = rule, moment-w.Pre.Microseconds(), moment+w.Post.Microseconds()
	k := len(c.recorders)
	c.recorders = append(c.recorders, r)
	c.captures = append(slices.Clip(c.captures), captureOf(rule, moment))
	if w.Pre == 0 {
		return
	}
	c.history.each(r.from, func(group int32, t int64, raw []int64) {
		c.record(ctx, k, group, t, raw)
		if len(c.block.Raw) >= maxReplay {
			c.hand()
		}
	})
}

// window says whether r is of a rule with a window.
func (r *recorder) window() bool { return r.armed != nil }

// over says whether no more rows can come for r: source time is past its end, or
// before its beginning, since the clock was set back.
func (r *recorder) over(now int64) bool {
	return r.window() && (now >= r.until+busSkew || now < r.from-busSkew)
}

// end closes the captures that are over, and says whether there were some. Their
// last rows are handed on in a block of their own, for the captures after a
// closed one get other positions.
func (c *Collector) end() (closed bool) {
	if !slices.ContainsFunc(c.recorders, func(r *recorder) bool { return r.over(c.now) }) {
		return false
	}
	for k, r := range c.recorders {
		if r.over(c.now) {
			r.state.flush(r.rule, int32(k), c.block)
		}
	}
	c.hand()
	recorders, captures := c.recorders, c.captures
	c.recorders, c.captures = nil, nil
	for k, r := range recorders {
		if !r.over(c.now) {
			c.recorders, c.captures = append(c.recorders, r), append(c.captures, captures[k])
		}
	}
	return true
}
