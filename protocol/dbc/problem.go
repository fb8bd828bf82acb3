package dbc

import (
	"errors"
	"fmt"
)

// Errors of Parse.
var (
	// ErrNotDBC: the text holds not one statement of a DBC file.
	ErrNotDBC = errors.New("no DBC statement found; expected a file with VERSION, BU_, BO_ …")
	// ErrTooLarge: the text is longer than MaxText.
	ErrTooLarge = errors.New("larger than a DBC file may be (16 MiB)")
)

// Limits that keep time and memory in proportion to the text.
const (
	// MaxText is the longest text Parse reads, in bytes.
	MaxText = 16 << 20
	// MaxProblems is how many problems Parse and Compile name each; the last one says how many more there were.
	MaxProblems = 1000
)

// Problem is one thing that is not as a DBC file should be.
type Problem struct {
	File     string // as given to Parse
	Line     int    // from 1; 0: not tied to a line
	Expected string // what was expected there and what was found
	Skipped  bool   // the statement was left out; otherwise it was used as Expected says
}

// String gives "file:line: expected …", or "file: expected …" when no line is known.
func (p Problem) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: expected %s", p.File, p.Expected)
	}
	return fmt.Sprintf("%s:%d: expected %s", p.File, p.Line, p.Expected)
}

// problems collects up to MaxProblems problems and counts the rest.
type problems struct {
	file string
	list []Problem
	more int
}

func (ps *problems) add(file string, line int, skipped bool, format string, args ...any) {
	if len(ps.list) >= MaxProblems {
		ps.more++
		return
	}
	ps.list = append(ps.list, Problem{File: file, Line: line, Expected: fmt.Sprintf(format, args...), Skipped: skipped})
}

// all gives the problems, with a last one for those that were only counted.
func (ps *problems) all() []Problem {
	if ps.more > 0 {
		last := Problem{File: ps.file, Expected: fmt.Sprintf("fewer problems; %d more are not listed", ps.more)}
		return append(ps.list, last)
	}
	return ps.list
}

// clip shortens a piece of the file for a message and makes it printable.
func clip(s string) string {
	const most = 40
	for i := range s {
		if i >= most {
			return fmt.Sprintf("%q…", s[:i])
		}
	}
	return fmt.Sprintf("%q", s)
}
