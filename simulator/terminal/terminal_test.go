package terminal

import (
	"testing"
)

// TestTerminal knows which terminals get cursor escapes, and which cut lines.
func TestTerminal(t *testing.T) {
	for kind, want := range map[string]bool{"": false, "dumb": false, "xterm-256color": true, "linux": true} {
		if got := movesCursor(kind); got != want {
			t.Errorf("TERM=%s: got %v, want %v", kind, got, want)
		}
	}
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"TERM": "xterm-256color"}, false},
		{map[string]string{"TERM": "linux"}, true},
		{map[string]string{"TERM": "xterm", "XTERM_VERSION": "XTerm(390)"}, true},
		{map[string]string{"TERM": "screen", "STY": "1.a"}, true},
		{map[string]string{"TERM": "screen", "TMUX": "/x", "XTERM_VERSION": "XTerm(390)"}, false},
	} {
		if got := cutsLines(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: got %v, want %v", c.env, got, c.want)
		}
	}
}

// TestPlain: names and texts come from vehicles.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"km/h": "km/h", "°C, µ": "°C, µ",
		"A\tB\n": "A\uFFFDB\uFFFD", "\x1b[2J\u009b31m": "\uFFFD[2J\uFFFD31m",
	} {
		if got := Plain(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
