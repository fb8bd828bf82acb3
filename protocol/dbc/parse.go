package dbc

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Parse reads a DBC file. name is used in problems only; a base name is best.
//
// It recovers per statement: what cannot be read is skipped, named in a
// Problem and counted in File.Skipped, and the rest is read. A signal whose
// meaning depends on what was skipped is left out, too. Problems come in
// the order of lines. The error is ErrNotDBC or ErrTooLarge, wrapped with the name; then there is no File.
func Parse(name string, text []byte) (*File, []Problem, error) {
	if len(text) > MaxText {
		return nil, nil, fmt.Errorf("%s: %w", name, ErrTooLarge)
	}
	p := &parser{
		scan:     newScanner(plainText(text)),
		file:     &File{Name: name, Hash: sha256.Sum256(text)},
		problems: problems{file: name},
		messages: map[uint32][]*draftMessage{},
		lost:     map[uint32]bool{independentID: true},
		tables:   map[string][]Value{},
		enums:    map[string][]string{},
		defaults: map[string]string{},
	}
	p.tok = p.scan.next()
	for p.tok.kind != kindEnd {
		p.statement()
	}
	if !p.known {
		return nil, nil, fmt.Errorf("%s: %w", name, ErrNotDBC)
	}
	p.link()
	slices.SortStableFunc(p.list, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return p.file, p.all(), nil
}

// parser holds what is known while a file is read.
type parser struct {
	scan scanner
	tok  token // the next one, not yet used
	last token // the one used last
	err  bool  // the statement is wrong; all further reading of it does nothing
	file *File
	problems

	again    int             // bytes that were read again to recover
	known    bool            // a statement of a DBC file was read
	signals  int             // so far
	message  *draftMessage   // whose SG_ statements follow; nil: they are to be skipped
	orphans  bool            // with a wrong BO_, not with the pseudo message
	lost     map[uint32]bool // identifiers of messages that were skipped
	subject  subject         // of the statement that is being read
	ownLine  token           // BO_, SG_, BU_ or EV_ that it has on a line of its own; perhaps the next statement
	failure  int             // position of its problem in the list; −1: none, or only counted
	losses   losses          // what statements that could not be read were about
	drafts   []*draftMessage
	messages map[uint32][]*draftMessage // by identifier as written
	tables   map[string][]Value         // VAL_TABLE_
	enums    map[string][]string        // BA_DEF_ ENUM of messages
	defaults map[string]string          // BA_DEF_DEF_
	later    []func()                   // statements that refer to messages, to be applied when all are read
}

// isKeyword says whether a word begins a statement when it is the first of its line.
func isKeyword(word string) bool {
	switch word {
	case "VERSION", "NS_", "BS_", "BU_", "BO_", "SG_", "CM_", "VAL_", "VAL_TABLE_", "BA_", "BA_DEF_", "BA_DEF_DEF_",
		"SG_MUL_VAL_", "SIG_VALTYPE_":
		return true
	}
	return isIgnored(word)
}

// isIgnored says whether a statement says nothing that this package needs.
func isIgnored(word string) bool {
	switch word {
	case "NS_DESC_", "BO_TX_BU_", "EV_", "ENVVAR_DATA_", "EV_DATA_", "SGTYPE_", "SGTYPE_VAL_", "SIG_TYPE_REF_",
		"SIGTYPE_VALTYPE_", "SIG_GROUP_", "SIG_VAL_", "SIGTYPE_VAL_", "BA_DEF_SGTYPE_", "BA_SGTYPE_", "BA_DEF_REL_", "BA_REL_",
		"BA_DEF_DEF_REL_", "BU_SG_REL_", "BU_EV_REL_", "BU_BO_REL_", "CAT_", "CAT_DEF_", "FILTER":
		return true
	}
	return false
}

// statement reads one statement, or skips what is none.
func (p *parser) statement() {
	if p.tok.kind == ';' { // an empty statement, or the end of one that needs none
		p.next()
		return
	}
	start := p.tok
	p.err, p.subject, p.ownLine, p.failure = false, subject{}, token{}, -1
	p.file.Statements++
	read := p.reader(start.text)
	if start.kind != kindWord || read == nil {
		p.fail("a statement such as BO_, SG_ or VAL_, found %s", start.describe())
	} else {
		p.next()
		read()
		p.known = p.known || !p.err && !isIgnored(start.text)
	}
	if p.err {
		p.lose(start, read != nil)
		p.recover(start)
	}
}

// reader gives the function that reads the rest of a statement, nil when there is no such statement.
func (p *parser) reader(keyword string) func() {
	switch keyword {
	case "VERSION":
		return p.readVersion
	case "NS_":
		return p.readNewSymbols
	case "BO_":
		return p.readMessage
	case "SG_":
		return p.readSignal
	case "CM_":
		return p.readComment
	case "VAL_":
		return p.readValues
	case "VAL_TABLE_":
		return p.readTable
	case "BA_":
		return p.readAttribute
	case "BA_DEF_":
		return p.readDefinition
	case "BA_DEF_DEF_":
		return p.readDefault
	case "SG_MUL_VAL_":
		return p.readMultiplex
	case "SIG_VALTYPE_":
		return p.readFloat
	case "BS_", "BU_":
		return p.readNodes
	}
	if isIgnored(keyword) {
		return p.ignore
	}
	return nil
}

// recover goes to the line where the next statement begins. A string over several lines may have
// swallowed statements, so that it begins again behind the first line then.
func (p *parser) recover(start token) {
	p.file.Skipped++
	switch {
	case p.ownLine.kind != kindEnd && p.returnTo(p.ownLine):
	case p.tok.kind == kindOpen || p.last.lines > 0 && p.last.start >= start.start:
		p.resume(start)
	case !p.atEnd() || !p.tok.first:
		p.resume(p.tok)
	}
}

// returnTo reads on at a token again, false when too much was read again already.
func (p *parser) returnTo(t token) bool {
	if p.again += p.scan.pos - t.start; p.again > maxAgain*len(p.scan.text) {
		return false
	}
	p.scan.pos, p.scan.line, p.scan.head = t.start, t.line, true
	p.next()
	return true
}

// maxAgain is how many times the text's length is read again at most, to recover.
const maxAgain = 4

// resume goes on at the first statement behind the line of a token. It goes back for it only as long as
// the whole text is not read more than a few times.
func (p *parser) resume(behind token) {
	from, line := behind.start, behind.line
	if p.again += p.scan.pos - from; p.again > maxAgain*len(p.scan.text) {
		from, line = p.scan.pos, p.scan.line
	}
	p.scan.toKeyword(from, line, func(text string) { p.loseLine(text, -1, false) })
	p.next()
}

// skip counts one more statement as skipped, with its problem.
func (p *parser) skip(line int, format string, args ...any) {
	p.file.Skipped++
	p.add(p.file.Name, line, true, format, args...)
}

// note names a problem of a statement that is used all the same.
func (p *parser) note(line int, format string, args ...any) {
	p.add(p.file.Name, line, false, format, args...)
}

// fail marks the statement as wrong at the next token. Only the first call of a statement counts.
func (p *parser) fail(format string, args ...any) {
	p.failAt(p.tok.line, format, args...)
}

// failAt is fail at a line.
func (p *parser) failAt(line int, format string, args ...any) {
	if !p.err {
		p.err = true
		p.failure = p.addAt(line, true, format, args...)
	}
}

// addAt adds a problem and gives its position in the list, −1 when it was only counted.
func (p *parser) addAt(line int, skipped bool, format string, args ...any) int {
	before := len(p.list)
	p.add(p.file.Name, line, skipped, format, args...)
	return p.listed(before)
}

// next uses up a token.
func (p *parser) next() {
	p.last = p.tok
	p.tok = p.scan.next()
}

// atEnd says whether the statement cannot go on: end of text, or a line that begins the next one.
func (p *parser) atEnd() bool {
	return p.tok.kind == kindEnd || p.tok.kind == kindWord && p.tok.first && isKeyword(p.tok.text)
}

// word reads a word.
func (p *parser) word(what string) string {
	if p.err || p.tok.kind != kindWord || p.atEnd() {
		p.fail("%s, found %s", what, p.tok.describe())
		return ""
	}
	p.next()
	return p.last.text
}

// text reads a string within one line.
func (p *parser) text(what string) string {
	if p.tok.kind == kindString && p.tok.lines > 0 {
		p.fail("a closing quote behind %s on the same line", what)
	}
	return p.comment(what)
}

// longText reads a string that may span lines, none of which begins like a statement: a quote is missing then.
func (p *parser) longText(what string) string {
	if p.tok.kind == kindString && swallows(p.tok) {
		p.fail("a closing quote behind %s before the next statement", what)
	}
	return p.comment(what)
}

// comment reads a string whose lines may be anything.
func (p *parser) comment(what string) string {
	if p.err || p.tok.kind != kindString {
		p.fail("%s in quotes, found %s", what, p.tok.describe())
		return ""
	}
	p.next()
	return readable(p.last.text)
}

// mark reads a punctuation character.
func (p *parser) mark(c byte, after string) {
	if p.err || p.tok.kind != c {
		p.fail("%q after %s, found %s", c, after, p.tok.describe())
		return
	}
	p.next()
}

// integer reads an integer within low and high.
func (p *parser) integer(what string, low, high int64) int64 {
	if p.err {
		return 0
	}
	tok := p.tok
	v, ok := parseInteger(p.word(what))
	if !p.err && (!ok || v < low || v > high) {
		p.failAt(tok.line, "%s from %d to %d, found %s", what, low, high, tok.describe())
	}
	return v
}

// identifier reads a frame identifier as DBC files write it.
func (p *parser) identifier() uint32 {
	id := uint32(p.integer("a message identifier", 0, 1<<32-1))
	if p.subject.id, p.subject.known = id, !p.err; p.err && p.tok.kind == kindWord && !p.atEnd() {
		p.subject.name = readable(p.tok.text) // what follows a wrong identifier
	}
	return id
}

// signalName reads the name of a signal that a statement is about.
func (p *parser) signalName() string {
	name := readable(p.word("a signal name"))
	if !p.err {
		p.subject.name = name
	}
	return name
}

// object reads BO_, SG_, BU_ or EV_ where a statement says what it is about, even as the first word of a line.
func (p *parser) object() string {
	if p.err || p.tok.kind != kindWord {
		return ""
	}
	switch p.tok.text {
	case "BO_", "SG_", "BU_", "EV_":
		if p.tok.first {
			p.ownLine = p.tok
		}
		p.next()
		return p.last.text
	}
	return ""
}

// close reads the semicolon. Without one, the next statement ends this one.
func (p *parser) close() {
	switch {
	case p.err || p.atEnd():
	case p.tok.kind == ';':
		p.next()
	case p.last.lines > 0:
		// more likely a quote is missing, and the text over several lines holds statements
		p.failAt(p.last.line, "\";\" behind a text over several lines, found %s", p.tok.describe())
	default:
		p.note(p.tok.line, "\";\" at the end of the statement, found %s; the rest of the line is ignored", p.tok.describe())
		p.resume(p.tok)
	}
}

// understood makes sure that a statement ends here. close would ignore the rest, which is not good enough for
// statements without which a value would be another one.
func (p *parser) understood() {
	if !p.err && !p.atEnd() && p.tok.kind != ';' {
		p.fail("\";\" at the end of the statement, found %s", p.tok.describe())
	}
}

// closeWith reads the semicolon; if the statement was right, apply, unless nil, is called when all messages are read.
func (p *parser) closeWith(apply func()) {
	if p.close(); !p.err && apply != nil {
		p.later = append(p.later, apply)
	}
}

// ignore goes to the end of a statement that is not needed.
func (p *parser) ignore() {
	for !p.atEnd() && p.tok.kind != ';' {
		if p.tok.kind == kindOpen || swallows(p.tok) {
			p.fail("a closing quote")
			return
		}
		p.next()
	}
	p.close()
}

// describe names a token in a problem.
func (t token) describe() string {
	switch t.kind {
	case kindEnd:
		return "the end of the file"
	case kindOpen:
		return "a quote that is never closed"
	}
	return clip(t.text)
}
