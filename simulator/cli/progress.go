package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"telltale.dev/simulator/terminal"
)

// progressLine shows states one below the other, and the progress of a state in its line.
type progressLine struct {
	out         io.Writer
	terminal    *terminal.Terminal // nil: none
	state, text string
	open        bool   // the cursor stands behind a line
	shown       string // that line
	width       int    // of the terminal when it was printed
}

func (p *progressLine) print(state, text string) {
	if state == p.state && (text == p.text || p.terminal == nil) {
		return
	}
	if state != p.state {
		p.end()
	}
	p.state, p.text = state, text
	now := time.Now()
	line := strings.TrimRight(fmt.Sprintf("%s  %-12s %s", clock(&now), state, text), " ")
	if p.terminal != nil {
		if p.open {
			p.erase()
		}
		p.width = p.terminal.Columns()
		p.shown = terminal.Cut(line, p.width-1) // a full line would put the cursor into the next one
		fmt.Fprint(p.out, p.shown)
		p.open = true
		return
	}
	fmt.Fprintln(p.out, line)
}

// erase takes the open line off the terminal.
func (p *progressLine) erase() {
	if above := p.terminal.Rows(utf8.RuneCountInString(p.shown), p.width) - 1; above > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA", above)
	}
	fmt.Fprint(p.out, "\r\x1b[J")
}

func (p *progressLine) end() {
	if p.open {
		fmt.Fprintln(p.out)
	}
	p.open = false
}
