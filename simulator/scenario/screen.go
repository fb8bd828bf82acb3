package scenario

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"telltale.dev/simulator/ledger"
)

// Screen shows a running scenario: a calm block that is redrawn in place on a
// terminal, plain lines elsewhere.
type Screen struct {
	out  io.Writer
	live bool

	mu     sync.Mutex // guards all below
	drawn  int        // lines of the block on the terminal now
	last   View
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

// NewScreen writes to out; live says that it is a terminal.
func NewScreen(out io.Writer, live bool) *Screen { return &Screen{out: out, live: live} }

// plainEvery is how often the numbers appear where there is no terminal.
const plainEvery = 5 * time.Second

// Show redraws the block.
func (s *Screen) Show(v View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = v
	if s.live {
		s.draw()
		return
	}
	if time.Since(s.spoken) >= plainEvery {
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
	if s.live && s.last.Name != "" {
		s.draw()
	}
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
	if s.drawn > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.drawn)
		s.drawn = 0
	}
}

// barWidth is the width of the progress bar in characters.
const barWidth = 56

func (s *Screen) draw() {
	v := s.last
	done := int(v.Share*barWidth + 0.5)
	lines := []string{
		"",
		fmt.Sprintf("  %s%s%s  %3.0f %%", v.Name, strings.Repeat(" ", max(1, barWidth-len(v.Name)-6)), seconds(v.Elapsed), 100*v.Share),
		"  " + strings.Repeat("━", done) + strings.Repeat("─", barWidth-done),
		fmt.Sprintf("  bus       %10s frames/s  %12s frames", ledger.Thousands(uint64(v.Rate)), ledger.Thousands(v.Frames)),
		fmt.Sprintf("  vehicle   %10s samples   %12d batches waiting", ledger.Thousands(v.Samples), v.Waiting),
		fmt.Sprintf("  link      %10s up        %12s", size(v.BytesUp), presence(v)),
		"  now       " + v.Now,
		"",
	}
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	b.WriteString("\x1b[?7l") // a line that is too long for the terminal must not become two
	for _, line := range lines {
		b.WriteString("\r" + line + "\x1b[K\n")
	}
	b.WriteString("\x1b[?7h")
	s.drawn = len(lines)
	_, _ = io.WriteString(s.out, b.String())
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
