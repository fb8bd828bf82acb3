package dbc

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"telltale.dev/protocol/can"
)

// link applies the statements that refer to messages and signals, and finishes each message.
func (p *parser) link() {
	for _, apply := range p.later {
		apply()
	}
	p.applyLosses()
	for _, m := range p.drafts {
		p.dropNamesakes(m)
		p.dropBehindGap(m)
		p.linkMultiplex(m)
		p.finish(m)
	}
}

// messagesOf gives the messages with an identifier as written; none is a problem, but the statement could be read.
func (p *parser) messagesOf(id uint32, line int, keyword string) []*draftMessage {
	list := p.messages[id]
	if len(list) == 0 && !p.lost[id] {
		p.note(line, "an identifier of a message of this file behind %s, found %d", keyword, id)
	}
	return list
}

// signalsOf gives the signals of a name; none is a problem. With duplicates there are several.
func (p *parser) signalsOf(id uint32, name string, line int, keyword string) []*draftSignal {
	messages := p.messagesOf(id, line, keyword)
	var list []*draftSignal
	for _, m := range messages {
		list = append(list, m.byName[name]...)
	}
	if len(list) == 0 && len(messages) > 0 && !messages[0].lost[name] {
		p.note(line, "a signal of message %s behind %s, found %s", clip(messages[0].Name), keyword, clip(name))
	}
	return list
}

func (p *parser) setValues(id uint32, name string, line int, table string, values []Value) {
	signals := p.signalsOf(id, name, line, "VAL_")
	if table != "" && len(signals) > 0 {
		var ok bool
		if values, ok = p.tables[table]; !ok {
			p.skip(line, "raw values with texts or the name of a VAL_TABLE_, found %s", clip(table))
			return
		}
	}
	for _, s := range signals {
		s.Values = values
	}
}

// sortedValues sorts by raw value; of equal ones the last counts.
func sortedValues(values []Value) []Value {
	sorted := slices.Clone(values)
	slices.Reverse(sorted)
	slices.SortStableFunc(sorted, func(a, b Value) int { return cmp.Compare(a.Raw, b.Raw) })
	return slices.CompactFunc(sorted, func(a, b Value) bool { return a.Raw == b.Raw })
}

// setFloat applies one SIG_VALTYPE_. Files exist with type 1 for 64 bits and 2 for 32; the length decides then, as in cantools.
func (p *parser) setFloat(about subject, id uint32, name string, kind, line int) {
	before := len(p.list)
	signals := p.signalsOf(id, name, line, "SIG_VALTYPE_")
	if len(signals) == 0 && kind != 0 { // some other signal of the file may be meant
		p.losses.types = append(p.losses.types, loss{about, p.listed(before), true})
	}
	for _, s := range signals {
		s.typed = true
		switch {
		case kind == 0:
			s.IEEE = 0
		case s.Length != 32 && s.Length != 64:
			s.dropped = true
			p.skip(line, "value type 1 for a signal of 32 bits or 2 for one of 64, found %d for the %d bits of %s; signal %s is not decoded",
				kind, s.Length, clip(name), clip(name))
			return
		default:
			if s.IEEE = s.Length; s.Length != kind*32 {
				p.note(line, "value type 1 for a signal of 32 bits or 2 for one of 64, found %d for the %d bits of %s; it is read as a float of %d bits",
					kind, s.Length, clip(name), s.Length)
			}
		}
	}
}

// listed gives the position of the problem that was added when there were so many before, −1 for none.
func (p *parser) listed(before int) int {
	if len(p.list) > before {
		return before
	}
	return -1
}

func (p *parser) setMessageAttribute(attribute string, id uint32, value string, line int) {
	switch attribute {
	case frameFormat, "GenMsgCycleTime", "SystemMessageLongSymbol":
	default:
		return
	}
	for _, m := range p.messagesOf(id, line, "BA_") {
		switch attribute {
		case frameFormat:
			m.format = value
		case "GenMsgCycleTime":
			m.cycle = value
		case "SystemMessageLongSymbol":
			m.long = value
		}
	}
}

func (p *parser) setSignalAttribute(attribute string, id uint32, name, value string, line int) {
	switch attribute {
	case "SPN", "SystemSignalLongSymbol":
	default:
		return
	}
	for _, s := range p.signalsOf(id, name, line, "BA_") {
		if attribute == "SPN" {
			spn, ok := parseInteger(value)
			if !ok || spn < 0 || spn > 1<<19-1 { // SAE J1939-73: 19 bits
				p.skip(line, "a suspect parameter number from 0 to 524287, found %s", clip(value))
				return
			}
			s.SPN = uint32(spn)
		} else {
			s.long = value
		}
	}
}

// finish sets what depends on several statements: frame format, cycle time, long names; and drops bad signals.
func (p *parser) finish(m *draftMessage) {
	for _, d := range m.signals {
		if d.dropped {
			continue
		}
		if d.long != "" {
			d.Name = d.long
		}
		m.Signals = append(m.Signals, d.Signal)
	}
	distinguish(m.Signals)
	if m.long != "" {
		m.Name = m.long
	}
	p.setFormat(m)
	p.setCycle(m)
}

// setFormat sets what VFrameFormat says.
func (p *parser) setFormat(m *draftMessage) {
	format := strings.ToUpper(p.enumText(frameFormat, m.format))
	if m.unclear { // what the identifier itself says
		format = ""
	}
	m.J1939 = strings.Contains(format, "J1939") && m.ID.IsExtended()
	m.FD = strings.Contains(format, "FD") || !m.J1939 && m.Length > can.MaxClassic && m.Length <= can.MaxData
}

// setCycle sets the cycle time.
func (p *parser) setCycle(m *draftMessage) {
	cycle := cmp.Or(m.cycle, p.defaults["GenMsgCycleTime"])
	if cycle == "" {
		return
	}
	ms, ok := parseDecimal(cycle)
	if !ok || ms < 0 || ms > math.MaxInt32 {
		p.note(m.line, "a GenMsgCycleTime in milliseconds for message %s, found %s; none is assumed", clip(m.Name), clip(cycle))
		return
	}
	m.CycleTime = time.Duration(ms * float64(time.Millisecond))
}

// distinguish gives signals of one name that can arrive together a name of
// their own, NAME@START, since nobody could tell their values apart. A @ occurs in no name of a DBC file.
func distinguish(signals []*Signal) {
	byName := map[string][]*Signal{}
	for _, s := range signals {
		byName[s.Name] = append(byName[s.Name], s)
	}
	var unclear []*Signal
	for _, s := range signals {
		namesakes := byName[s.Name]
		together := func(o *Signal) bool { return o != s && !apart(s.Mux, o.Mux) }
		if !s.Multiplexor && (len(namesakes) > maxNamesakes || slices.ContainsFunc(namesakes, together)) {
			unclear = append(unclear, s)
		}
	}
	for _, s := range unclear {
		s.Name += "@" + strconv.Itoa(s.Start)
	}
}

// maxNamesakes is how many signals of one name are compared with each other; more are all told apart.
const maxNamesakes = 256

// apart says whether no frame selects both: ranges of one multiplexor that do not meet.
func apart(a, b *Mux) bool {
	if a == nil || b == nil || a.Selector != b.Selector {
		return false
	}
	for _, r := range a.Ranges {
		for _, q := range b.Ranges {
			if r[0] <= q[1] && q[0] <= r[1] {
				return false
			}
		}
	}
	return true
}

// enumText gives the text of an enumerated message attribute, whose value is an index or the text itself.
func (p *parser) enumText(attribute, value string) string {
	value = cmp.Or(value, p.defaults[attribute])
	texts := p.enums[attribute]
	if i, ok := parseInteger(value); ok && i >= 0 && i < int64(len(texts)) {
		return texts[i]
	}
	return value
}
