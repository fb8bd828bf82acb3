package scenario_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"telltale.dev/simulator/scenario"
	"telltale.dev/simulator/terminal"
)

// emulator is a terminal that understands what the screen uses: \r, \n, cursor up, erase to the
// end of the line or screen, and no automatic wrap. It has no lines above that scroll away.
type emulator struct {
	t        *testing.T
	columns  int
	cuts     bool // lines when it becomes narrower; else it breaks them
	lines    [][]rune
	row, col int
}

func newEmulator(t *testing.T, columns int) *emulator {
	return &emulator{t: t, columns: columns, lines: [][]rune{nil}}
}

// size is what the screen asks for.
func (e *emulator) size() (columns, rows int) { return e.columns, 24 }

// Write implements io.Writer.
func (e *emulator) Write(text []byte) (int, error) {
	for rest := []rune(string(text)); len(rest) > 0; {
		switch {
		case rest[0] == '\n':
			e.row, e.col, rest = e.row+1, 0, rest[1:]
			if e.row == len(e.lines) {
				e.lines = append(e.lines, nil)
			}
		case rest[0] == '\r':
			e.col, rest = 0, rest[1:]
		case rest[0] == '\x1b':
			rest = rest[e.escape(rest):]
		default:
			if e.col == e.columns {
				e.t.Errorf("a line is longer than %d columns: %s", e.columns, string(e.lines[e.row]))
			}
			line := e.lines[e.row]
			e.lines[e.row] = append(line[:min(e.col, len(line))], append([]rune{rest[0]}, line[min(e.col+1, len(line)):]...)...)
			e.col, rest = e.col+1, rest[1:]
		}
	}
	return len(text), nil
}

// escape carries out the sequence in front and gives its length.
func (e *emulator) escape(text []rune) int {
	n, i := 0, 2
	if text[i] == '?' {
		i++
	}
	for ; text[i] >= '0' && text[i] <= '9'; i++ {
		n = n*10 + int(text[i]-'0')
	}
	line := e.lines[e.row]
	switch text[i] {
	case 'A':
		if e.row -= n; e.row < 0 {
			e.t.Fatalf("the cursor leaves the screen")
		}
	case 'J':
		e.lines = e.lines[:e.row+1]
		e.lines[e.row] = line[:min(e.col, len(line))]
	case 'K':
		e.lines[e.row] = line[:min(e.col, len(line))]
	case 'l', 'h':
	default:
		e.t.Fatalf("unknown sequence %q", string(text[:i+1]))
	}
	return i + 1
}

// resize changes the width. The cursor must be in front of an empty last line.
func (e *emulator) resize(columns int) {
	var lines [][]rune
	for _, line := range e.lines {
		for ; len(line) > columns && !e.cuts; line = line[columns:] {
			lines = append(lines, line[:columns:columns])
		}
		lines = append(lines, line[:min(len(line), columns)])
	}
	e.lines, e.row, e.columns = lines, len(lines)-1, columns
}

// text is what stands on it.
func (e *emulator) text() string {
	var b strings.Builder
	for _, line := range e.lines {
		b.WriteString(string(line) + "\n")
	}
	return b.String()
}

// count checks how often texts stand on the terminal.
func (e *emulator) count(want map[string]int) {
	e.t.Helper()
	text := e.text()
	for part, n := range want {
		if got := strings.Count(text, part); got != n {
			e.t.Errorf("got %q %d times, want %d, in\n%s", part, got, n, text)
		}
	}
}

// TestScreenLive plays the screen's output on a terminal of our own: the block must
// stay one block, and what is said must stand above it, in order.
func TestScreenLive(t *testing.T) {
	e := newEmulator(t, 100)
	s := scenario.NewScreen(e, &terminal.Terminal{Size: e.size})
	s.Say("  %s", "first")
	s.Show(scenario.View{Name: "trip", Share: 0.25, Frames: 12345, Presence: "online", Powered: true, Now: "first"})
	s.Say("second")
	s.Show(scenario.View{Name: "trip", Share: 0.5, Frames: 98800, BytesUp: 3 << 20, Presence: "lost", Now: "second"})
	if !strings.HasPrefix(e.text(), "  first\nsecond\n") {
		t.Errorf("got %s, want first and second on top", e.text())
	}
	e.count(map[string]int{"50 %": 1, "25 %": 0, "98,800 frames": 1, "12,345": 0, "3.0 MiB up": 1, "lost, no power": 1, "now": 1})
	s.DriveEnded()
	s.Show(scenario.View{Name: "trip", Share: 1, Presence: "cloud is away", Powered: true, Now: "over"})
	e.count(map[string]int{"100 %": 1, "lost, no power": 1, "cloud is away": 0, "over": 1})
	s.End()
	if got := strings.TrimSpace(e.text()); got != "first\nsecond" {
		t.Errorf("got %q, want only what was said", got)
	}
	s.Say("third")
	if got := strings.TrimSpace(e.text()); got != "first\nsecond\nthird" {
		t.Errorf("got %q, want third behind", got)
	}
}

// TestScreenResized changes the terminal's width in the middle of a drive, on terminals that
// break long lines then and on those that cut them: there is one block, and what was said stays.
func TestScreenResized(t *testing.T) {
	view := scenario.View{Name: "commute", Share: 0.36, Frames: 35572, Samples: 141329, Waiting: 1, Presence: "cloud is away",
		Now: "into a tunnel, the link is half-open, and this goes on for longer than any terminal is wide: " + strings.Repeat("ä", 100)}
	once := map[string]int{"said": 2, "commute": 1, "━ ": 0, "35,572": 1, "141,329": 1, "  now ": 1, "  bus ": 1, "  link ": 1, "36 %": 1, "1 batches": 1, "cloud is away": 1}
	for _, cuts := range []bool{false, true} {
		e := newEmulator(t, 120)
		e.cuts = cuts
		s := scenario.NewScreen(e, &terminal.Terminal{Size: e.size, Cuts: cuts})
		s.Say("said")
		s.Show(view)
		s.Say("said")
		for _, columns := range []int{50, 50, 43, 100, 49, 120, 58, 30, 200} {
			e.resize(columns)
			s.Show(view)
			if columns >= 43 {
				e.count(once)
			}
			for _, line := range strings.Split(e.text(), "\n") {
				if n := utf8.RuneCountInString(line); n > columns {
					t.Errorf("cuts %v, %d columns: got a line of %d", cuts, columns, n)
				}
			}
			if got := strings.Count(e.text(), "\n"); got != 2+8+1 {
				t.Errorf("cuts %v, %d columns: got %d lines, want 2 that were said and one block, in\n%s", cuts, columns, got, e.text())
			}
		}
		e.resize(20)
		s.End()
		if got := strings.TrimSpace(e.text()); got != "said\nsaid" {
			t.Errorf("cuts %v: got %q at the end, want only what was said", cuts, got)
		}
	}
}

// TestScreenLow wants the block no higher than the terminal, because the cursor cannot go back to what has scrolled away.
func TestScreenLow(t *testing.T) {
	e, rows := newEmulator(t, 80), 24
	s := scenario.NewScreen(e, &terminal.Terminal{Size: func() (int, int) { return 80, rows }})
	for _, c := range []struct{ rows, want int }{{24, 9}, {5, 5}, {1, 2}, {0, 9}, {8, 8}} {
		rows = c.rows
		s.Show(scenario.View{Name: "trip"})
		if got := strings.Count(e.text(), "\n"); got != c.want {
			t.Errorf("%d rows: got %d lines, want %d", c.rows, got, c.want)
		}
	}
}

func TestScreenPlain(t *testing.T) {
	var out bytes.Buffer
	s := scenario.NewScreen(&out, nil)
	s.Show(scenario.View{Name: "trip", Frames: 1000, Presence: "online", Powered: true})
	s.Show(scenario.View{Name: "trip", Frames: 2000, Presence: "online", Powered: true})
	s.Say("said")
	s.End()
	got := out.String()
	if strings.ContainsAny(got, "\x1b\r") || strings.Count(got, "\n") != 2 || !strings.Contains(got, "1,000 frames") || !strings.HasSuffix(got, "said\n") {
		t.Errorf("got %q, want two plain lines", got)
	}
}

// TestScreenPlainEnded wants no numbers of vehicles and a cloud that are being ended.
func TestScreenPlainEnded(t *testing.T) {
	var out bytes.Buffer
	s := scenario.NewScreen(&out, nil)
	s.DriveEnded()
	s.Show(scenario.View{Name: "trip", Presence: "cloud is away"})
	s.Say("the drive is over")
	if got := out.String(); got != "the drive is over\n" {
		t.Errorf("got %q, want only what was said", got)
	}
}
