package terminal

import (
	"strings"
	"unicode"
)

// Plain is a vehicle's text without the control characters that it may hold: they would steer the terminal.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
