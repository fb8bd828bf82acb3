package dbc

import (
	"math"
	"strings"

	"telltale.dev/protocol/can"
)

// Limits of a signal's place. J1939 messages over the transport protocol have up to 1785 bytes (SAE J1939-21, 5.10).
const (
	maxLength  = 1785
	maxStart   = maxLength*8 - 1
	maxBits    = maxLength * 8
	maxRawBits = 64      // of a signal that can be decoded
	maxSignals = 1 << 18 // in a file
	maxAlike   = 64      // messages of one identifier, and signals of one name in a message

	// The pseudo message that holds the signals of no message.
	independent   = "VECTOR__INDEPENDENT_SIG_MSG"
	independentID = 0xC0000000
)

// draftMessage is a message while its file is read.
type draftMessage struct {
	*Message
	number  uint32 // as written
	line    int
	signals []*draftSignal
	lost    map[string]bool           // names of signals that were skipped
	unread  bool                      // a signal that was skipped may be a multiplexor
	gaps    int                       // empty lines among its SG_ statements so far
	byName  map[string][]*draftSignal // by the name as written; more than one: a duplicate
	long    string                    // SystemMessageLongSymbol
	format  string                    // VFrameFormat
	unclear bool                      // its VFrameFormat could not be read
	cycle   string                    // GenMsgCycleTime
}

// draftSignal is a signal while its file is read.
type draftSignal struct {
	*Signal
	line     int
	muxed    bool // has mN
	mux      int64
	selector string     // of SG_MUL_VAL_; then of any
	ranges   [][2]int64 // of SG_MUL_VAL_
	selected int        // line of SG_MUL_VAL_
	typed    bool       // has a SIG_VALTYPE_
	long     string     // SystemSignalLongSymbol
	gaps     int        // empty lines between the BO_ and the SG_ statement
	dropped  bool       // not decoded, and named in a problem
}

// readMessage reads: BO_ identifier name : length transmitter
func (p *parser) readMessage() {
	line := p.last.line
	p.message, p.orphans = nil, false // of a wrong BO_, the SG_ are skipped with it
	number := p.identifier()
	name := p.word("a message name")
	p.mark(':', "the message name")
	length := p.integer("a message length in bytes", 0, math.MaxInt32)
	if p.err {
		p.loseMessage(name != "", number)
		return
	}
	if p.tok.kind == kindWord && !isKeyword(p.tok.text) && !p.tok.first {
		p.next() // the transmitter
	}
	if name == independent || number == independentID {
		p.lost[number] = true
		return
	}
	p.addMessage(&draftMessage{
		Message: &Message{Name: readable(name), Length: int(length)},
		number:  number, line: line,
		byName: map[string][]*draftSignal{}, lost: map[string]bool{},
	})
}

// addMessage puts a message into the file.
func (p *parser) addMessage(m *draftMessage) {
	alike := p.messages[m.number]
	if len(alike) >= maxAlike {
		p.skip(m.line, "at most %d messages with identifier %d", maxAlike, m.number)
		p.loseMessage(true, m.number)
		return
	}
	if len(alike) > 0 {
		p.note(m.line, "each identifier once, found %d again; frames are decoded as message %s", m.number, clip(m.Name))
	}
	if m.Length > maxLength {
		p.note(m.line, "a message of at most %d bytes, found %d in message %s", maxLength, m.Length, clip(m.Name))
	}
	p.setIdentifier(m)
	p.message = m
	p.drafts = append(p.drafts, m)
	p.messages[m.number] = append(alike, m)
	p.file.Messages = append(p.file.Messages, m.Message)
}

// setIdentifier sets the identifier of a message from the number as written.
func (p *parser) setIdentifier(m *draftMessage) {
	m.ID = can.ID(m.number)
	switch {
	case m.ID.IsExtended() && m.ID.Number() > uint32(can.ExtendedMask):
		p.note(m.line, "an identifier of at most 29 bits and bit 31, found %d; message %s matches no frame", m.number, clip(m.Name))
	case !m.ID.IsExtended() && m.ID > can.ExtendedMask:
		p.note(m.line, "an identifier of at most 29 bits, found %d; message %s matches no frame", m.number, clip(m.Name))
	case !m.ID.IsExtended() && m.ID > can.StandardMask:
		p.note(m.line, "bit 31 set in an identifier above 0x7FF, found 0x%X; message %s is taken as extended", m.number, clip(m.Name))
		m.ID = identifierOf(m.number)
	}
}

// identifierOf turns a number as written into an identifier: one beyond 11 bits is extended even without bit 31.
func identifierOf(number uint32) can.ID {
	id := can.ID(number)
	if !id.IsExtended() && id > can.StandardMask && id <= can.ExtendedMask {
		id |= can.Extended
	}
	return id
}

// readSignal reads: SG_ name [multiplexing] : start|length@order sign (factor,offset) [min|max] "unit" receivers
func (p *parser) readSignal() {
	d := &draftSignal{Signal: &Signal{}, line: p.last.line}
	if p.message != nil {
		if p.last.gap {
			p.message.gaps++
		}
		d.gaps = p.message.gaps
	}
	d.Name = p.signalName()
	if p.tok.kind != ':' {
		p.indicator(d)
	}
	p.mark(':', "the signal name")
	d.Start = int(p.integer("a start bit", 0, maxStart))
	p.mark('|', "the start bit")
	d.Length = int(p.integer("a signal length in bits", 1, maxBits))
	p.mark('@', "the signal length")
	p.byteOrder(d.Signal)
	p.scaling(d.Signal)
	p.limits(d.Signal)
	if p.err {
		return
	}
	if d.Unit = p.longText("a unit"); p.err {
		return
	}
	p.receivers()
	p.addSignal(d)
}

// addSignal puts a signal into its message.
func (p *parser) addSignal(d *draftSignal) {
	m := p.message
	if m == nil {
		if p.orphans {
			p.file.Skipped++ // named once, with the message
		}
		return
	}
	if p.signals++; p.signals > maxSignals || len(m.byName[d.Name]) >= maxAlike {
		p.skip(d.line, "at most %d signals in a file and %d of one name in message %s", maxSignals, maxAlike, clip(m.Name))
		m.unread = m.unread || d.Multiplexor
		return
	}
	if len(m.byName[d.Name]) > 0 {
		p.note(d.line, "each signal name once in message %s, found %s again; both are decoded", clip(m.Name), clip(d.Name))
	}
	if d.bytes() > m.Length {
		p.note(d.line, "signal %s within the %d bytes of message %s, found %d; it is decoded from frames that are long enough",
			clip(d.Name), m.Length, clip(m.Name), d.bytes())
	}
	if d.Length > maxRawBits {
		p.note(d.line, "at most %d bits in signal %s of message %s, found %d; it is not decoded", maxRawBits, clip(d.Name), clip(m.Name), d.Length)
	}
	m.signals = append(m.signals, d)
	m.byName[d.Name] = append(m.byName[d.Name], d)
}

// indicator reads M (multiplexor), m3 (multiplexed by 3) or m3M (both, extended multiplexing).
func (p *parser) indicator(d *draftSignal) {
	const what = `":" or a multiplexing indicator such as M, m3 or m3M`
	word := p.word(what)
	if p.err {
		return
	}
	if word == "m" {
		p.note(p.last.line, `M for a multiplexor or a number behind m, found "m"; signal %s is taken as the multiplexor`, clip(d.Name))
		word = "M"
	}
	digits, multiplexed := strings.CutPrefix(word, "m")
	digits, multiplexor := strings.CutSuffix(digits, "M")
	d.Multiplexor = multiplexor
	if multiplexed {
		v, ok := parseInteger(digits)
		if d.muxed, d.mux = ok, v; ok && v >= 0 {
			return
		}
	} else if digits == "" && multiplexor {
		return
	}
	p.failAt(p.last.line, "%s, found %s", what, clip(word))
}

// byteOrder reads 1+, 1-, 0+ or 0-.
func (p *parser) byteOrder(s *Signal) {
	const what = `a byte order and sign such as 1+ or 0-`
	word := p.word(what)
	if len(word) == 1 {
		word += p.word(what)
	}
	if p.err {
		return
	}
	switch word {
	case "1+", "1-", "0+", "0-":
		s.BigEndian, s.Signed = word[0] == '0', word[1] == '-'
	default:
		p.failAt(p.last.line, "%s, found %s", what, clip(word))
	}
}

// scaling reads (factor,offset).
func (p *parser) scaling(s *Signal) {
	text := p.enclosed('(', ')', "the factor and offset")
	if p.err {
		return
	}
	var fine, ok bool
	if s.Scale, s.Offset, ok = pair(text, ","); ok {
		s.Factor, ok = parseDecimal(s.Scale)
		s.Shift, fine = parseDecimal(s.Offset)
	}
	if !ok || !fine {
		p.failAt(p.last.line, "a factor and an offset, two finite decimal numbers, found %s", clip("("+text+")"))
	}
}

// limits reads [minimum|maximum]. They change no value, so that wrong ones are only noted.
func (p *parser) limits(s *Signal) {
	text := p.enclosed('[', ']', "the minimum and maximum")
	if p.err {
		return
	}
	var low, high float64
	var fine bool
	a, b, ok := pair(text, "|")
	if !ok {
		a, b, ok = pair(text, ",")
	}
	if ok {
		low, ok = parseDecimal(a)
		high, fine = parseDecimal(b)
	}
	if !ok || !fine {
		p.note(p.last.line, "a minimum and a maximum, two finite decimal numbers, found %s; none is assumed", clip("["+text+"]"))
		return
	}
	s.Min, s.Max = low, high
}

// enclosed reads what stands between two brackets on one line.
func (p *parser) enclosed(open, shut byte, what string) string {
	if p.err || p.tok.kind != open {
		p.fail("%s in %c%c, found %s", what, open, shut, p.tok.describe())
		return ""
	}
	text, ok := p.scan.enclosed(p.tok.start+1, shut)
	if !ok {
		p.fail("a closing %c behind %s", shut, what)
		return ""
	}
	p.next()
	return text
}

// receivers goes over the list of receiving nodes.
func (p *parser) receivers() {
	for comma := true; p.tok.kind == kindWord && !isKeyword(p.tok.text) && (comma || !p.tok.first); {
		p.next()
		if comma = p.tok.kind == ','; comma {
			p.next()
		}
	}
}
