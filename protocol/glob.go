package protocol

import (
	"path"
	"strings"
)

// MatchName says whether the name of a bus, message or signal matches a glob in
// path.Match's syntax. Unlike there, a slash is a letter: signals are called
// "Battery Potential / Power Input 1". The error is path.ErrBadPattern.
func MatchName(pattern, name string) (bool, error) {
	const letter = "\x1f" // in no name
	return path.Match(strings.ReplaceAll(pattern, "/", letter), strings.ReplaceAll(name, "/", letter))
}
