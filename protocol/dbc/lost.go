package dbc

import (
	"fmt"
	"strings"
	"unicode"
)

// Some statements say how the bits of a signal are to be read that another statement places: SG_MUL_VAL_ when
// the frame holds it, SIG_VALTYPE_ that it is no integer, the SG_ statement of a multiplexor what others depend
// on, BO_ whose signals they are. When such a statement cannot be read, the signals that it may be about are
// not decoded: read without it, they would have values that were never sent.
//
//	statement that cannot be read   what is not decoded
//	SG_MUL_VAL_                     its signal, and all that depend on it
//	SIG_VALTYPE_                    its signal
//	SG_                             the signal; when it may be a multiplexor, all that depend on it
//	BO_                             its SG_ statements; earlier messages of the same identifier
//	VAL_, VAL_TABLE_                the texts
//	BA_, BA_DEF_ "VFrameFormat"     frames from other addresses than the identifier's (J1939)
//
// A statement whose keyword cannot be read is told by its form. What is missing as a whole line leaves a
// trace only for SG_ (others name it), SG_MUL_VAL_ (each signal below two multiplexors needs one), and BO_
// (an empty line among SG_ statements).

// frameFormat is the attribute that says whether a message is J1939 or CAN FD.
const frameFormat = "VFrameFormat"

// subject is what a statement is about, as far as it could be read.
type subject struct {
	id        uint32
	known     bool // id could be read
	name      string
	attribute string
}

// loss is a statement that could not be read, or not be applied.
type loss struct {
	subject
	problem int // its position in the list, −1: not listed
	// readable: but it names a signal that its message does not have. Then it is about a signal whose name is
	// damaged, here or there, or about one that was removed.
	readable bool
}

// losses are the statements that could not be read and change what others mean.
type losses struct {
	ranges, types, texts, formats []loss
}

// lose records what a wrong statement was about. It begins at start; read is whether its keyword is known.
func (p *parser) lose(start token, read bool) {
	l := loss{subject: p.subject, problem: p.failure}
	if !read {
		p.loseLine(p.scan.rest(start), p.failure, true)
		return
	}
	if start.first && p.scan.alone(start) && l.name == "" && !l.known {
		return // a keyword of the list behind NS_, whose first line cannot be read
	}
	switch start.text {
	case "SG_":
		p.loseSignal(p.scan.rest(start))
	case "SG_MUL_VAL_":
		p.losses.ranges = append(p.losses.ranges, l)
	case "SIG_VALTYPE_":
		p.losses.types = append(p.losses.types, l)
	case "VAL_":
		p.losses.texts = append(p.losses.texts, l)
	case "BA_":
		if l.attribute == frameFormat {
			p.losses.formats = append(p.losses.formats, l)
		}
	case "BA_DEF_":
		delete(p.enums, l.attribute)
	case "BA_DEF_DEF_":
		delete(p.defaults, l.attribute)
	}
}

// loseLine records what a line may have been that does not begin with a keyword. problem is where it is named.
func (p *parser) loseLine(text string, problem int, statement bool) {
	if strings.Contains(text, "|") && strings.Contains(text, "@") {
		p.loseSignal(text)
		return
	}
	l := loss{problem: problem}
	var form string
	l.subject, form = formOf(text)
	if strings.Contains(text, frameFormat) {
		p.losses.formats = append(p.losses.formats, l)
	}
	float := strings.HasPrefix(form, "1a:1;")
	switch {
	case float, form == "1a1;", form == "1a:1" && statement:
		p.losses.types = append(p.losses.types, l)
	case strings.HasPrefix(form, "1aa") && len(form) > 3 && strings.Contains(text, "-"):
		p.losses.ranges = append(p.losses.ranges, l)
	}
	if strings.Contains(form, ":1") && !float {
		p.loseMessage(l.known && strings.HasPrefix(form, "1a:1"), l.id)
	}
}

// formOf gives what the begin of a line may be about and its form: 1 for an integer, a for another word, else the
// punctuation, without the words in front. SIG_VALTYPE_ has the form 1a:1; and BO_ 1a:1a.
func formOf(text string) (about subject, form string) {
	const most = 7
	scan := newScanner(text)
	var last token
	for range most {
		t := scan.next()
		switch {
		case t.kind == kindEnd:
			return about, strings.TrimLeft(form, "a")
		case t.kind != kindWord:
			form += string(t.kind)
		case isInteger(t.text):
			form += "1"
		default:
			form += "a"
		}
		if first := strings.Count(form, "1") == 1; first && t.kind == kindWord && last.kind == kindWord && isInteger(last.text) {
			id, _ := parseInteger(last.text)
			about = subject{id: uint32(id), known: id >= 0 && id < 1<<32, name: readable(t.text)}
		}
		last = t
	}
	return about, strings.TrimLeft(form, "a")
}

// isName says whether a text is a name as DBC editors allow it, of letters, digits and _.
func isName(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

func isInteger(s string) bool {
	_, ok := parseInteger(s)
	return ok
}

// loseMessage records that a BO_ statement cannot be used: the SG_ statements behind it are nobody's.
func (p *parser) loseMessage(known bool, id uint32) {
	p.message, p.orphans = nil, true
	if known {
		p.lost[id] = true
		p.file.lost = append(p.file.lost, lostMessage{before: len(p.file.Messages), number: id})
	}
}

// loseSignal records that the SG_ statement in this line cannot be used.
func (p *parser) loseSignal(line string) {
	if p.message == nil {
		return
	}
	head, _, colon := strings.Cut(line, ":")
	words := strings.Fields(head)
	if len(words) > 1 {
		p.message.lost[readable(words[1])] = true
	}
	plain := colon && (len(words) == 2 && words[0] == "SG_" || len(words) == 3 && plainIndicator(words[2]))
	p.message.unread = p.message.unread || !plain
}

// plainIndicator says whether a multiplexing indicator is that of a signal which is no multiplexor: m3.
func plainIndicator(word string) bool {
	digits, ok := strings.CutPrefix(word, "m")
	return ok && isInteger(digits)
}

// applyLosses drops the signals that statements which could not be read may be about.
func (p *parser) applyLosses() {
	p.dropAbout(p.losses.types, func(d *draftSignal) bool { return !d.typed && (d.Length == 32 || d.Length == 64) })
	p.dropAbout(p.losses.ranges, func(d *draftSignal) bool { return d.muxed && d.selector == "" })
	p.dropTexts()
	p.dropFormats()
}

// dropTexts removes the texts of signals of which a VAL_ is lost: others of the same signal may be replaced by it.
func (p *parser) dropTexts() {
	for _, l := range p.losses.texts {
		if !l.known {
			continue
		}
		for _, m := range p.messages[l.id] {
			for _, d := range m.byName[l.name] {
				d.Values = nil
			}
		}
	}
}

// dropFormats marks the messages whose frame format may be lost.
func (p *parser) dropFormats() {
	all := false // messages that state no format have one that could not be read
	for _, l := range p.losses.formats {
		all = all || !l.known
		for _, m := range p.messages[l.id] {
			m.unclear = m.unclear || l.known
		}
	}
	for _, m := range p.drafts {
		m.unclear = m.unclear || all && m.format == ""
	}
}

// dropAbout drops the signals that lost statements name, and, when one does not name a signal of the file,
// those that it may be about. Each signal is looked at a few times only, however many statements are lost.
func (p *parser) dropAbout(list []loss, may func(*draftSignal) bool) {
	if len(list) == 0 {
		return
	}
	everything, named := p.everySignal()
	done := map[subject]bool{}
	for _, l := range list {
		about := subject{id: l.id, known: l.known, name: l.name}
		if done[about] {
			continue
		}
		done[about] = true
		exact, candidates := p.about(l)
		switch {
		case candidates != nil || l.known && (p.lost[l.id] || l.name == ""):
		case len(named[l.name]) > 0 || l.known:
			candidates = named[l.name]
		default:
			candidates = everything
		}
		p.dropThose(candidates, l.problem, func(d *draftSignal) bool { return exact || may(d) })
	}
}

// dropThose drops the signals of a list that match, and names them in a problem.
func (p *parser) dropThose(list []*draftSignal, problem int, match func(*draftSignal) bool) {
	var names []string
	for _, d := range list {
		if match(d) && !d.dropped {
			d.dropped = true
			names = append(names, clip(d.Name))
		}
	}
	p.extend(problem, names)
}

// everySignal gives all signals of the file, also by name.
func (p *parser) everySignal() (list []*draftSignal, named map[string][]*draftSignal) {
	named = map[string][]*draftSignal{}
	for _, m := range p.drafts {
		list = append(list, m.signals...)
		for _, d := range m.signals {
			named[d.Name] = append(named[d.Name], d)
		}
	}
	return list, named
}

// about gives the signals of the message that a statement names: the one of the name, or all when it is not
// among them. nil: the message is not known.
func (p *parser) about(s loss) (exact bool, list []*draftSignal) {
	if !s.known {
		return false, nil
	}
	all := []*draftSignal{}
	for _, m := range p.messages[s.id] {
		if s.name != "" && m.lost[s.name] {
			return true, all // the signal is lost as well
		}
		list = append(list, m.byName[s.name]...)
		for _, d := range m.signals {
			if !s.readable || !isName(s.name) || !isName(d.Name) {
				all = append(all, d)
			}
		}
	}
	switch {
	case len(p.messages[s.id]) == 0:
		return false, nil
	case len(list) > 0:
		return true, list
	}
	return false, all
}

// extend adds to a problem which signals are not decoded for it.
func (p *parser) extend(problem int, names []string) {
	const most = 4
	if problem < 0 || len(names) == 0 {
		return
	}
	what, more := "; signals ", " are not decoded"
	switch {
	case len(names) == 1:
		what, more = "; signal ", " is not decoded"
	case len(names) > most:
		more = fmt.Sprintf(" and %d more%s", len(names)-most, more)
		names = names[:most]
	}
	p.list[problem].Expected += what + strings.Join(names, ", ") + more
}
