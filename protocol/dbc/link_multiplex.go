package dbc

import (
	"cmp"
	"math"
	"slices"
)

// setMultiplex applies one SG_MUL_VAL_. Several for one signal and selector add up.
func (p *parser) setMultiplex(id uint32, name, selector string, ranges []selectorRange, line int) {
	before := len(p.list)
	signals := p.signalsOf(id, name, line, "SG_MUL_VAL_")
	if len(signals) == 0 { // another multiplexed signal of the message may be meant
		p.losses.ranges = append(p.losses.ranges, loss{subject{id: id, known: true, name: name}, p.listed(before), true})
		return
	}
	if len(p.signalsOf(id, selector, line, "SG_MUL_VAL_")) == 0 {
		var names []string
		for _, d := range signals {
			d.dropped = true
			names = append(names, clip(d.Name))
		}
		if p.listed(before) < 0 {
			p.skip(line, "an SG_ statement of multiplexor %s that can be read; signal %s is not decoded", clip(selector), clip(name))
			return
		}
		p.extend(p.listed(before), names)
		return
	}
	for _, d := range signals {
		if d.selector != "" && d.selector != selector {
			if !d.dropped {
				p.drop(d, "one multiplexor for signal %s, found %s beside %s; it is not decoded", clip(name), clip(selector), clip(d.selector))
			}
			return
		}
		d.selector, d.selected = selector, line
		for _, r := range ranges {
			// What an int64 cannot hold is beyond all selectors of less than 64 bits.
			if r.low <= r.high && r.low <= math.MaxInt64 {
				d.ranges = append(d.ranges, [2]int64{int64(r.low), int64(min(r.high, math.MaxInt64))})
			}
		}
	}
	p.noteRanges(ranges, line)
}

// noteRanges names ranges that are not as they should be but are understood. When none holds a value,
// linkMultiplex says so.
func (p *parser) noteRanges(ranges []selectorRange, line int) {
	empty := func(r selectorRange) bool { return r.high < r.low }
	for _, r := range ranges {
		switch {
		case empty(r) && slices.ContainsFunc(ranges, func(r selectorRange) bool { return !empty(r) }):
			p.note(line, "a range of selector values that rises, such as 1-3, found %s; it holds no value", clip(r.text))
		case !empty(r) && r.text != "":
			p.note(line, "a range of selector values such as 1-3, found %s; it is read as this value alone", clip(r.text))
		}
	}
}

// dropNamesakes drops signals of which a namesake could not be read: nobody could tell whose their name is.
func (p *parser) dropNamesakes(m *draftMessage) {
	for _, d := range m.signals {
		if m.lost[d.Name] && !d.dropped {
			p.drop(d, "each signal name once in message %s, found %s again, of which one cannot be read; it is not decoded", clip(m.Name), clip(d.Name))
		}
	}
}

// dropBehindGap drops SG_ statements behind an empty line, where the BO_ statement of another message is likely
// to be missing. Files that put an empty line between the signals of each multiplexor value are understood.
func (p *parser) dropBehindGap(m *draftMessage) {
	multiplexor := false // before the gap
	for start := 0; start < len(m.signals); {
		end, gaps := start, m.signals[start].gaps
		selected := true
		for ; end < len(m.signals) && m.signals[end].gaps == gaps; end++ {
			selected = selected && m.signals[end].muxed
		}
		if gaps > 0 && !(selected && multiplexor) {
			lost := m.signals[start:]
			p.skip(lost[0].line, "a BO_ statement between the empty line and signal %s, found none; %d signals that would be of message %s are not decoded",
				clip(lost[0].Name), len(lost), clip(m.Name))
			for _, d := range lost {
				d.dropped = true
			}
			p.file.Skipped += len(lost) - 1
			return
		}
		for _, d := range m.signals[start:end] {
			multiplexor = multiplexor || d.Multiplexor
		}
		start = end
	}
}

// multiplexors are those of a message.
type multiplexors struct {
	root     *draftSignal // the one with M alone
	other    *draftSignal // any other
	others   int
	extended bool // the message has SG_MUL_VAL_
}

func multiplexorsOf(m *draftMessage) multiplexors {
	var all multiplexors
	for _, d := range m.signals {
		all.extended = all.extended || d.selector != ""
		switch {
		case !d.Multiplexor:
		case all.root == nil && !d.muxed && d.selector == "":
			all.root = d
		default:
			all.other = d
			all.others++
		}
	}
	return all
}

// ambiguous says whether the selector of a signal without SG_MUL_VAL_ may be another one than the root.
func (all *multiplexors) ambiguous(d *draftSignal) bool {
	return all.others > 1 || all.others == 1 && (all.extended || all.other != d)
}

// linkMultiplex finds the selector of each multiplexed signal: the one of
// SG_MUL_VAL_, else the message's M. Signals of which it is not known when they are in a frame are dropped.
func (p *parser) linkMultiplex(m *draftMessage) {
	all := multiplexorsOf(m)
	for _, d := range m.signals {
		switch {
		case d.dropped:
		case d.selector != "":
			p.linkExtended(m, d)
		case d.muxed:
			p.linkSimple(m, d, &all)
		}
	}
	p.dropCycles(m)
}

// linkExtended applies what SG_MUL_VAL_ says of a signal.
func (p *parser) linkExtended(m *draftMessage, d *draftSignal) {
	named := m.byName[d.selector]
	switch {
	case len(named) == 0: // only another message of the same identifier has it
		p.drop(d, "a multiplexor in message %s itself for signal %s, found %s", clip(m.Name), clip(d.Name), clip(d.selector))
	case len(d.ranges) == 0:
		d.dropped = true
		p.skip(d.selected, "a range of selector values that rises, such as 1-3, found only empty ones; signal %s of message %s is not decoded",
			clip(d.Name), clip(m.Name))
	default:
		p.attach(m, d, named[0], d.ranges)
	}
}

// linkSimple applies the mN of a signal that SG_MUL_VAL_ does not mention.
func (p *parser) linkSimple(m *draftMessage, d *draftSignal, all *multiplexors) {
	switch {
	case all.root == nil:
		p.drop(d, "a multiplexor (M) in message %s for signal %s, found none", clip(m.Name), clip(d.Name))
	case m.unread:
		p.drop(d, "all SG_ statements of message %s to be read, as one may be the multiplexor of signal %s; it is not decoded", clip(m.Name), clip(d.Name))
	case all.ambiguous(d):
		p.drop(d, "SG_MUL_VAL_ for signal %s of message %s, which has several multiplexors; it is not decoded", clip(d.Name), clip(m.Name))
	default:
		p.attach(m, d, all.root, [][2]int64{{d.mux, d.mux}})
	}
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
			switch {
			case bad && at.dropped:
				p.drop(c, "a multiplexor that can be decoded for signal %s of message %s, found %s; it is not decoded", clip(c.Name), clip(m.Name), clip(c.selector))
			case bad:
				p.drop(c, "a multiplexor that is in the frame itself for signal %s in message %s, found %s", clip(c.Name), clip(m.Name), clip(c.selector))
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
