package dbc

import (
	"cmp"
	"strings"
)

// The kinds of a token; punctuation is its own kind.
const (
	kindEnd    byte = 0   // end of the text
	kindWord   byte = 'w' // a name, a number or a keyword
	kindString byte = '"' // text in quotes
	kindOpen   byte = '!' // a quote that is never closed
)

// punctuation ends a word and is a token of its own.
const punctuation = ":;,()[]|@\""

// token is one piece of the text.
type token struct {
	kind  byte
	text  string // of a string: without its quotes
	line  int
	start int  // where it begins in the text
	first bool // nothing but blanks before it on its line
	gap   bool // an empty line before it
	lines int  // line breaks inside, of a string
}

// scanner cuts the text into tokens.
type scanner struct {
	text string
	pos  int
	line int
	head bool // nothing but blanks since the line began
	open int  // from here on there is no closing quote; 0: not known
}

func newScanner(text string) scanner { return scanner{text: text, line: 1, head: true} }

// next gives the next token.
func (s *scanner) next() token {
	gap := s.skipBlanks()
	t := token{line: s.line, start: s.pos, first: s.head, gap: gap}
	s.head = false
	if s.pos >= len(s.text) {
		return t
	}
	c := s.text[s.pos]
	switch {
	case c == '"':
		s.quoted(&t)
	case strings.IndexByte(punctuation, c) >= 0:
		t.kind, t.text = c, s.text[s.pos:s.pos+1]
		s.pos++
	default:
		end := s.pos
		for end < len(s.text) && !endsWord(s.text[end]) {
			end++
		}
		t.kind, t.text = kindWord, s.text[s.pos:end]
		s.pos = end
	}
	return t
}

func endsWord(c byte) bool { return isBlank(c) || strings.IndexByte(punctuation, c) >= 0 }

func isBlank(c byte) bool { return c <= ' ' }

// skipBlanks goes to the next token, over white space and // comments, and says whether an empty line was among it.
func (s *scanner) skipBlanks() (gap bool) {
	empty := s.head // nothing but white space on this line
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		switch {
		case c == '\n' || c == '\r':
			gap = gap || empty
			s.lineBreak()
			empty = true
		case isBlank(c):
			s.pos++
		case c == '/' && strings.HasPrefix(s.text[s.pos:], "//"):
			s.pos += lineLength(s.text[s.pos:])
			empty = false
		default:
			return gap
		}
	}
	return gap
}

// lineBreak goes over one LF, CR or CRLF.
func (s *scanner) lineBreak() {
	if s.text[s.pos] == '\r' && strings.HasPrefix(s.text[s.pos:], "\r\n") {
		s.pos++
	}
	s.pos++
	s.line++
	s.head = true
}

// lineLength gives how many bytes there are before the next line break.
func lineLength(text string) int {
	if n := strings.IndexAny(text, "\r\n"); n >= 0 {
		return n
	}
	return len(text)
}

// quoted reads a string, which may span lines.
func (s *scanner) quoted(t *token) {
	begin := s.pos + 1
	end, escaped := -1, false
	if s.open == 0 || begin < s.open {
		end, escaped = closingQuote(s.text, begin)
	}
	if end < 0 {
		t.kind = kindOpen
		s.open = min(begin, cmp.Or(s.open, begin))
		s.pos = begin
		return
	}
	t.kind, t.text = kindString, s.text[begin:end]
	if escaped {
		t.text = strings.ReplaceAll(t.text, `\"`, `"`)
	}
	for s.pos = begin; s.pos < end; {
		n := lineLength(s.text[s.pos:end])
		if s.pos += n; s.pos < end {
			s.lineBreak()
			t.lines++
		}
	}
	s.pos, s.head = end+1, false
}

// closingQuote finds the quote that ends a string. \" is a quote inside the
// string, unless the statement visibly ends there, as in "C:\";
func closingQuote(text string, begin int) (end int, escaped bool) {
	for i := begin; ; i++ {
		n := strings.IndexByte(text[i:], '"')
		if n < 0 {
			return -1, false
		}
		i += n
		if text[i-1] != '\\' || endsStatement(text[i+1:]) {
			return i, escaped
		}
		escaped = true
	}
}

// endsStatement says whether only a semicolon stands on the rest of the line. Far blanks are not looked at.
func endsStatement(rest string) bool {
	const most = 32
	rest, found := strings.CutPrefix(strings.TrimLeft(rest[:min(len(rest), most)], " \t"), ";")
	rest = strings.TrimLeft(rest, " \t")
	return found && (rest == "" || rest[0] == '\n' || rest[0] == '\r')
}

// enclosed gives the text from a position up to the next close on the same line, and goes behind it.
func (s *scanner) enclosed(from int, close byte) (string, bool) {
	const most = 256
	rest := s.text[from:min(from+most, len(s.text))]
	n := strings.IndexByte(rest[:lineLength(rest)], close)
	if n < 0 {
		return "", false
	}
	s.pos = from + n + 1
	return rest[:n], true
}

// following gives the next character on the line that is no blank, 0 at the end of the line.
func (s *scanner) following() byte {
	for _, c := range []byte(s.text[s.pos:]) {
		switch {
		case c == '\n' || c == '\r':
			return 0
		case !isBlank(c):
			return c
		}
	}
	return 0
}

// toKeyword goes to the next line, after the one that holds position from, that begins with a keyword.
// It gives the lines between to skipped.
func (s *scanner) toKeyword(from, line int, skipped func(line string)) {
	s.pos, s.line = from, line
	for s.pos += lineLength(s.text[s.pos:]); s.pos < len(s.text); s.pos += lineLength(s.text[s.pos:]) {
		s.lineBreak()
		if isKeyword(leadingWord(s.text[s.pos:])) {
			break
		}
		skipped(s.text[s.pos : s.pos+lineLength(s.text[s.pos:])])
	}
	s.head = true
}

// rest gives the text from a token to the end of its first line.
func (s *scanner) rest(t token) string {
	return s.text[t.start : t.start+lineLength(s.text[t.start:])]
}

// lineOf gives the whole line in which a token begins.
func (s *scanner) lineOf(t token) string {
	begin := strings.LastIndexAny(s.text[:t.start], "\r\n") + 1
	return s.text[begin : t.start+lineLength(s.text[t.start:])]
}

// alone says whether a word stands alone on an indented line, as keywords do in the list behind NS_.
func (s *scanner) alone(t token) bool {
	line := s.lineOf(t)
	return strings.TrimSpace(line) == t.text && isBlank(line[0])
}

// swallows says whether a string spans lines of which one begins like a statement.
func swallows(t token) bool {
	if t.kind != kindString || t.lines == 0 {
		return false
	}
	for rest := t.text; ; {
		n := strings.IndexAny(rest, "\r\n")
		if n < 0 {
			return false
		}
		if rest = rest[n+1:]; isKeyword(leadingWord(rest)) {
			return true
		}
	}
}

// leadingWord gives the first word of a line.
func leadingWord(text string) string {
	begin := 0
	for begin < len(text) && (text[begin] == ' ' || text[begin] == '\t') {
		begin++
	}
	end := begin
	for end < len(text) && !endsWord(text[end]) {
		end++
	}
	return text[begin:end]
}
