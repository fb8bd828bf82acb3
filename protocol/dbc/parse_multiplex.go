package dbc

import (
	"strconv"
	"strings"
)

// readMultiplex reads: SG_MUL_VAL_ identifier signal selector low-high, low-high … ;
func (p *parser) readMultiplex() {
	line := p.last.line
	id, name := p.identifier(), p.signalName()
	selector := readable(p.word("a name of a multiplexor signal"))
	ranges := []selectorRange{}
	for !p.err {
		ranges = append(ranges, p.selectorRange())
		if p.tok.kind == ',' {
			p.next()
		} else if p.tok.kind != kindWord || p.atEnd() {
			break
		}
	}
	p.understood()
	p.closeWith(func() { p.setMultiplex(id, name, selector, ranges, line) })
}

// selectorRange is one range of SG_MUL_VAL_, both ends included. Without a value when high is below low.
type selectorRange struct {
	low, high uint64
	text      string // as written, when a note is due
}

// selectorRange reads low-high, with or without blanks, or a single value. CANdb++ writes ranges such as
// 2-1 for none; cantools reads them so, too.
func (p *parser) selectorRange() selectorRange {
	const what = "a range of selector values such as 1-3"
	text := p.word(what)
	for !p.err && p.tok.kind == kindWord && !p.atEnd() && (strings.HasSuffix(text, "-") || strings.HasPrefix(p.tok.text, "-")) {
		text += p.word(what)
	}
	if p.err {
		return selectorRange{}
	}
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	r := selectorRange{}
	var fine, ok bool
	r.low, fine = parseSelector(low)
	r.high, ok = parseSelector(high)
	if !ok || !fine {
		p.failAt(p.last.line, "%s, found %s", what, clip(text))
	}
	if !isRange || r.high < r.low {
		r.text = text
	}
	return r
}

// parseSelector reads a selector value: an unsigned integer of at most 64 bits, decimal, hexadecimal (0x) or
// without fraction, such as 8.0. The sign of a number would be taken for the mark of a range.
func parseSelector(s string) (uint64, bool) {
	if v, err := strconv.ParseUint(s, 10, 64); err == nil {
		return v, true
	}
	v, ok := parseInteger(s)
	return uint64(v), ok && v >= 0
}
