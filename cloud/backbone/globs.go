package backbone

import (
	"fmt"
	"slices"

	"telltale.dev/protocol"
)

// Globs picks signals by their names, and remembers the answers: it is for one goroutine.
type Globs struct {
	globs []string
	known map[string]bool // nil: everything matches
}

// maxKnown bounds the answers that a Globs remembers.
const maxKnown = 1 << 12

// NewGlobs takes globs that CheckGlobs passes; no glob, or an empty one among them, matches everything.
func NewGlobs(globs []string) *Globs {
	if len(globs) == 0 || slices.Contains(globs, "") {
		return &Globs{}
	}
	return &Globs{globs, map[string]bool{}}
}

// Match says whether a signal of that name is picked.
func (g *Globs) Match(name string) bool {
	if g.known == nil {
		return true
	}
	match, ok := g.known[name]
	if ok {
		return match
	}
	for _, glob := range g.globs {
		if match, _ = protocol.MatchName(glob, name); match {
			break
		}
	}
	if len(g.known) >= maxKnown {
		clear(g.known)
	}
	g.known[name] = match
	return match
}

// CheckGlobs says what is wrong with the globs of a request.
func CheckGlobs(globs []string) error {
	if len(globs) > maxGlobs {
		return fmt.Errorf("signal: expected at most %d globs", maxGlobs)
	}
	for _, glob := range globs {
		if _, err := protocol.MatchName(glob, ""); err != nil || len(glob) > maxGlob {
			return fmt.Errorf("signal: expected a glob such as WHEEL_*, at most %d characters", maxGlob)
		}
	}
	return nil
}

// Bounds of globs: how many in one request, and the length of each in bytes.
const maxGlobs, maxGlob = 16, 128
