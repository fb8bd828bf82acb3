package scenario

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/terminal"
)

// Screen shows a running scenario: a calm block that is redrawn in place on a
// terminal, plain lines elsewhere.
type Screen struct {
	out      io.Writer
	terminal *terminal.Terminal // nil: none

	mu     sync.Mutex // guards all below
	drawn  []int      // lines of the block on the terminal now, in characters
	width  int        // of the terminal when they were drawn
	last   View
	ended  bool
	spoken time.Time // of the last plain line
}

// View is what the screen shows.
type View struct {
	Name     string
	Elapsed  time.Duration
	Share    float64 // of the drive
	Frames   uint64  // on the buses so far
	Rate     float64 // frames a second
	Samples  uint64  // committed to the vehicle's disk
	Waiting  uint64  // batches
	BytesUp  int64
	Presence string
	Powered  bool
	Now      string
}

// NewScreen writes to out, which is terminal; nil: it is none, or one without cursor escapes.
func NewScreen(out io.Writer, terminal *terminal.Terminal) *Screen {
	return &Screen{out: out, terminal: terminal}
}

// plainEvery is how often the numbers appear where there is no terminal.
const plainEvery = 5 * time.Second

// Show redraws the block.
func (s *Screen) Show(v View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended && s.last.Name != "" {
		v.Presence, v.Powered = s.last.Presence, s.last.Powered
	}
	s.last = v
	if s.terminal != nil {
		s.draw()
		return
	}
	if !s.ended && time.Since(s.spoken) >= plainEvery {
		s.spoken = time.Now()
		fmt.Fprintf(s.out, "%5.1fs  %s frames (%s/s)  %s samples  %d batches waiting  %s up  %s\n", v.Elapsed.Seconds(),
			ledger.Thousands(v.Frames), ledger.Thousands(uint64(v.Rate)), ledger.Thousands(v.Samples), v.Waiting, size(v.BytesUp), presence(v))
	}
}

// Say prints a line that stays.
func (s *Screen) Say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.out, format+"\n", args...)
	if s.terminal != nil && s.last.Name != "" {
		s.draw()
	}
}

// DriveEnded says that vehicles and cloud are now ended in order, which is no loss of
// presence or power: the block keeps those of before, and no further plain line has numbers.
func (s *Screen) DriveEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// End removes the block.
func (s *Screen) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.last = View{}
}

// erase takes the block off the terminal; the cursor is then where its first line was.
func (s *Screen) erase() {
	if len(s.drawn) > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\r\x1b[J", s.rows())
		s.drawn = nil
	}
}

// rows is how many rows of the terminal the block takes now.
func (s *Screen) rows() (rows int) {
	for _, characters := range s.drawn {
		rows += s.terminal.Rows(characters, s.width)
	}
	return rows
}

// barWidth is the width of the progress bar in characters, where the terminal has room for it.
const barWidth = 56

// draw replaces the block by one that fits the terminal's present size.
func (s *Screen) draw() {
	columns, rows := s.terminal.Now()
	lines := s.block(columns)
	lines = lines[:min(len(lines), max(1, rows-1))] // the cursor's line is below them
	var b strings.Builder
	switch {
	case len(s.drawn) == 0:
	case columns != s.width || len(lines) < len(s.drawn):
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", s.rows())
	default:
		fmt.Fprintf(&b, "\x1b[%dA", len(s.drawn))
	}
	s.drawn, s.width = make([]int, len(lines)), columns
	b.WriteString("\x1b[?7l") // characters of double width must not make one line two
	for i, line := range lines {
		line = terminal.Cut(squeeze(line, columns), columns)
		s.drawn[i] = utf8.RuneCountInString(line)
		b.WriteString("\r\x1b[K" + line + "\n")
	}
	b.WriteString("\x1b[?7h")
	_, _ = io.WriteString(s.out, b.String())
}

// labelWidth is how far what is shown stands behind the left edge, in characters.
const labelWidth = 12

// squeeze takes the room between the numbers out of a line that is too long for the terminal.
func squeeze(line string, columns int) string {
	if utf8.RuneCountInString(line) <= columns || len(line) < labelWidth {
		return line
	}
	text := strings.TrimLeft(line[labelWidth:], " ")
	for strings.Contains(text, "   ") {
		text = strings.ReplaceAll(text, "   ", "  ")
	}
	return line[:labelWidth] + text
}

// block is what the last view looks like; lines may be too long for the terminal.
func (s *Screen) block(columns int) []string {
	v := s.last
	width := min(barWidth, max(1, columns-2))
	done := min(width, max(0, int(v.Share*float64(width)+0.5)))
	gap := max(1, min(width, columns-9)-utf8.RuneCountInString(v.Name)-6)
	return []string{
		"",
		fmt.Sprintf("  %s%s%s  %3.0f %%", v.Name, strings.Repeat(" ", gap), seconds(v.Elapsed), 100*v.Share),
		"  " + strings.Repeat("━", done) + strings.Repeat("─", width-done),
		fmt.Sprintf("  bus       %10s frames/s  %12s frames", ledger.Thousands(uint64(v.Rate)), ledger.Thousands(v.Frames)),
		fmt.Sprintf("  vehicle   %10s samples   %12d batches waiting", ledger.Thousands(v.Samples), v.Waiting),
		fmt.Sprintf("  link      %10s up        %12s", size(v.BytesUp), presence(v)),
		"  now       " + v.Now,
		"",
	}
}

func presence(v View) string {
	if !v.Powered {
		return v.Presence + ", no power"
	}
	return v.Presence
}

func seconds(d time.Duration) string { return fmt.Sprintf("%5.1fs", d.Seconds()) }

// size writes bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
