// Package shell writes lines that a person pastes into a shell.
package shell

import (
	"os"
	"path/filepath"
	"strings"
)

// Command is a line to paste into a shell.
func Command(program string, args ...string) string {
	line := Quote(program)
	for _, arg := range args {
		line += " " + Quote(arg)
	}
	return line
}

// Quote writes an argument so that a shell takes it as it is.
func Quote(arg string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:=,@+%", c)
	}
	if arg != "" && strings.IndexFunc(arg, func(c rune) bool { return !plain(c) }) < 0 {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// Ourselves is how the user calls this program.
func Ourselves() string { return Relative(os.Args[0]) }

// Anywhere is the same, for a line that is pasted in another folder: a name that the shell finds stays as it is.
func Anywhere() string {
	if filepath.Base(os.Args[0]) == os.Args[0] {
		return os.Args[0]
	}
	return Absolute(os.Args[0])
}

// Absolute is a path for a line that is pasted in another folder.
func Absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// Relative shortens a path below the working directory.
func Relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
