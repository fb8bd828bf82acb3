// Package check looks at what an agent needs of its device, one part after
// another: buses, identity, clock, disk, link, slots. Each line of its report says how a
// part is, and what to do when it is not well. It may run beside the agent: it changes
// nothing and takes nothing away.
package check

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Level is how a part is.
type Level string

// The levels.
const (
	OK   Level = "OK"
	Warn Level = "WARN" // it works, or will for a while
	Fail Level = "FAIL"
)

// Line is one finding.
type Line struct {
	Area    string `json:"area"`
	Level   Level  `json:"level"`
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`    // what to do
	Details any    `json:"details,omitempty"` // for programs
}

// Okay is a line of something that is well.
func Okay(area, format string, args ...any) Line {
	return Line{Area: area, Level: OK, Text: fmt.Sprintf(format, args...)}
}

// Warning is a line of something that should be better.
func Warning(area, hint, format string, args ...any) Line {
	return Line{Area: area, Level: Warn, Text: fmt.Sprintf(format, args...), Hint: hint}
}

// Failure is a line of something that keeps the agent from its work.
func Failure(area, hint, format string, args ...any) Line {
	return Line{Area: area, Level: Fail, Text: fmt.Sprintf(format, args...), Hint: hint}
}

// Report is all lines, in their order.
type Report []Line

// Failures counts the lines that say FAIL.
func (r Report) Failures() (n int) {
	for _, l := range r {
		if l.Level == Fail {
			n++
		}
	}
	return n
}

// Print writes the report for people: a line each, and one more where there is a hint.
func (r Report) Print(w io.Writer) error {
	wide := 0
	for _, l := range r {
		wide = max(wide, len(l.Area))
	}
	var b strings.Builder
	for _, l := range r {
		fmt.Fprintf(&b, "%-4s  %-*s  %s\n", l.Level, wide, l.Area, l.Text)
		if l.Hint != "" {
			fmt.Fprintf(&b, "%s  %s  → %s\n", strings.Repeat(" ", 4), strings.Repeat(" ", wide), l.Hint)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON writes the report for programs, as one object.
func (r Report) JSON(w io.Writer) error {
	return json.NewEncoder(w).Encode(struct {
		OK    bool   `json:"ok"` // no line says FAIL
		Lines Report `json:"lines"`
	}{r.Failures() == 0, r})
}
