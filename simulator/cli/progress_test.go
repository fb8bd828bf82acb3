package cli

import (
	"strings"
	"testing"

	"telltale.dev/simulator/terminal"
)

// TestProgressLine wants one line for a state, also when the terminal has become narrower.
func TestProgressLine(t *testing.T) {
	var out strings.Builder
	columns := 30
	p := progressLine{out: &out, terminal: &terminal.Terminal{Size: func() (int, int) { return columns, 24 }}}
	p.print("DOWNLOADING", "10% of a large file")
	if got := out.String(); len(got) != 29 || strings.Contains(got, "\x1b") {
		t.Errorf("got %q, want a line that is cut to the terminal", got)
	}
	out.Reset()
	columns = 10 // the line is broken into three
	p.print("DOWNLOADING", "20% of a large file")
	if got := out.String(); !strings.HasPrefix(got, "\x1b[2A\r\x1b[J") || len(got) != len("\x1b[2A\r\x1b[J")+9 {
		t.Errorf("got %q, want all of the former line erased", got)
	}
	out.Reset()
	plain := progressLine{out: &out}
	plain.print("DOWNLOADING", "10%")
	plain.print("DOWNLOADING", "20%")
	plain.print("CONFIRMED", "")
	if got := out.String(); strings.ContainsAny(got, "\x1b\r") || strings.Count(got, "\n") != 2 {
		t.Errorf("got %q, want one line for each state", got)
	}
}
