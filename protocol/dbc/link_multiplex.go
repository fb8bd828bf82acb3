package dbc

import (
	"cmp"
	"slices"
)

// setMultiplex applies one SG_MUL_VAL_. Several for one signal and selector add up.
func (p *parser) setMultiplex(id uint32, name, selector string, ranges [][2]int64, line int) {
	signals := p.signalsOf(id, name, line, "SG_MUL_VAL_")
	if len(signals) == 0 || len(p.signalsOf(id, selector, line, "SG_MUL_VAL_")) == 0 {
		return // named there
	}
	for _, d := range signals {
		if d.selector != "" && d.selector != selector {
			p.skip(line, "one multiplexor for signal %s, found %s beside %s", clip(name), clip(selector), clip(d.selector))
			return
		}
		d.selector = selector
		d.ranges = append(d.ranges, ranges...)
	}
}

// linkMultiplex finds the selector of each multiplexed signal: the one of
// SG_MUL_VAL_, else the message's M. Signals that can never be in a frame are dropped.
func (p *parser) linkMultiplex(m *draftMessage) {
	root := p.rootSelector(m)
	for _, d := range m.signals {
		switch {
		case d.selector != "" && len(m.byName[d.selector]) == 0: // only another message of the same identifier has it
			p.drop(d, "a multiplexor in message %s itself for signal %s, found %s", clip(m.Name), clip(d.Name), clip(d.selector))
		case d.selector != "":
			p.attach(m, d, m.byName[d.selector][0], d.ranges)
		case !d.muxed || d == root:
		case root == nil:
			p.drop(d, "a multiplexor (M) in message %s for signal %s, found none", clip(m.Name), clip(d.Name))
		default:
			p.attach(m, d, root, [][2]int64{{d.mux, d.mux}})
		}
	}
	p.dropCycles(m)
}

// rootSelector gives the multiplexor of the signals that SG_MUL_VAL_ does not mention.
func (p *parser) rootSelector(m *draftMessage) *draftSignal {
	var root *draftSignal
	var nested []*draftSignal
	needed := slices.ContainsFunc(m.signals, func(d *draftSignal) bool { return d.muxed && d.selector == "" })
	for _, d := range m.signals {
		switch {
		case !d.Multiplexor:
		case d.muxed:
			if d.selector == "" {
				nested = append(nested, d)
			}
		case root == nil:
			root = d
		case needed:
			p.note(d.line, "one multiplexor (M) in message %s or SG_MUL_VAL_ for each signal, found %s too; %s is used",
				clip(m.Name), clip(d.Name), clip(root.Name))
		}
	}
	if root == nil && len(nested) == 1 {
		root = nested[0]
		p.note(root.line, "a multiplexor (M) in message %s; %s is used", clip(m.Name), clip(root.Name))
	}
	return root
}

// attach makes d depend on selector.
func (p *parser) attach(m *draftMessage, d, selector *draftSignal, ranges [][2]int64) {
	if selector.IEEE != 0 || selector.Length > maxRawBits {
		p.drop(d, "an integer of at most 64 bits as multiplexor of signal %s in message %s, found %s",
			clip(d.Name), clip(m.Name), clip(selector.Name))
		return
	}
	selector.Multiplexor = true
	d.selector = selector.Name
	d.Mux = &Mux{Selector: cmp.Or(selector.long, selector.Name), Ranges: mergeRanges(ranges)}
}

func (p *parser) drop(d *draftSignal, format string, args ...any) {
	d.dropped = true
	p.skip(d.line, format, args...)
}

// dropCycles drops signals whose selectors select each other.
func (p *parser) dropCycles(m *draftMessage) {
	const seen, good = 1, 2
	state := map[*draftSignal]int{}
	for _, d := range m.signals {
		var chain []*draftSignal
		at := d
		for at.Mux != nil && !at.dropped && state[at] == 0 {
			state[at] = seen
			chain = append(chain, at)
			at = m.byName[at.selector][0]
		}
		bad := at.dropped || state[at] == seen
		for _, c := range chain {
			state[c] = good
			if bad {
				p.drop(c, "a multiplexor that is in the frame itself for signal %s in message %s", clip(c.Name), clip(m.Name))
			}
		}
	}
}

// mergeRanges sorts ranges and joins those that overlap or touch.
func mergeRanges(ranges [][2]int64) [][2]int64 {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b [2]int64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	merged := sorted[:1]
	for _, r := range sorted[1:] {
		last := &merged[len(merged)-1]
		if r[0] <= last[1] || r[0] == last[1]+1 {
			last[1] = max(last[1], r[1])
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}
