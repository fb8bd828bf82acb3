package collect

import (
	"slices"

	"telltale.dev/agent/campaign"
	"telltale.dev/protocol"
	"telltale.dev/protocol/signal"
)

// Load puts a program in force: from the next block on, when it is of the
// catalogue that rows come from, else from the first block of its own catalogue.
// The blocks before that are collected by the program before. Rules that the
// program before has too, of the same catalogue, go on undisturbed. Load may be
// called from any goroutine and does not wait.
func (c *Collector) Load(p *campaign.Program) {
	c.mu.Lock()
	if n := len(c.loaded); n > 0 && c.loaded[n-1].Catalogue == p.Catalogue {
		c.loaded = c.loaded[:n-1] // superseded before it was in force
	}
	c.loaded = append(c.loaded, p)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// next takes the newest loaded program of a catalogue, and forgets those before it; nil: none.
func (c *Collector) next(cat *signal.Catalogue) (p *campaign.Program) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.loaded) - 1; i >= 0; i-- {
		if c.loaded[i].Catalogue == cat {
			p = c.loaded[i]
			c.loaded = slices.Delete(c.loaded, 0, i+1)
			return p
		}
	}
	return nil
}

// adopt puts a program in force; nil changes nothing. A rule that was there
// before keeps its captures; what the others have open is handed on, and their
// captures are closed.
func (c *Collector) adopt(p *campaign.Program) {
	if p == nil {
		return
	}
	same := c.program != nil && c.program.Catalogue == p.Catalogue
	if !same {
		c.history.clear()
	}
	var recorders []*recorder
	var captures []*Capture
	c.armed = nil
	for _, rule := range p.Rules {
		found := false
		for k, r := range c.recorders {
			if same && r.rule.Same(rule) {
				recorders, captures, found = append(recorders, r), append(captures, c.captures[k]), true
				if r.window() {
					r.armed = rule
				}
			}
		}
		switch {
		case rule.Window != nil:
			c.armed = append(c.armed, rule)
		case !found:
			recorders, captures = append(recorders, newRecorder(rule, len(p.Catalogue.Sources))), append(captures, captureOf(rule, 0))
		}
	}
	for k, r := range c.recorders {
		if !slices.Contains(recorders, r) {
			r.state.flush(r.rule, int32(k), c.block)
		}
	}
	if c.program != nil {
		c.hand()
	}
	c.program, c.recorders, c.captures = p, recorders, captures
	c.grids = slices.ContainsFunc(p.Rules, func(r *campaign.Rule) bool { return r.Mode == protocol.ModeGrid })
	c.remember(p)
}

// remember lets the history keep what the rules with a window want of the past.
func (c *Collector) remember(p *campaign.Program) {
	depth := int64(0)
	c.past = make([]bool, len(p.Catalogue.Groups))
	for _, rule := range c.armed {
		depth = max(depth, rule.Window.Pre.Microseconds())
		for g, taken := range rule.Groups {
			c.past[g] = c.past[g] || taken != campaign.NotTaken && rule.Window.Pre > 0
		}
	}
	c.history.keep(depth)
}
