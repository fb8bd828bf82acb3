package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSkipsAreJudged runs .ci/test with a go that prints what the real one prints: in CI
// a skipped test must be listed, elsewhere it is only said.
func TestSkipsAreJudged(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash")
	}
	const (
		listed   = "=== RUN   TestBus\n    bus_test.go:9: no virtual CAN here\n--- SKIP: TestBus (0.00s)\n"
		unlisted = "=== RUN   TestTool\n    tool_test.go:7: curl is not installed\n--- SKIP: TestTool (0.01s)\n"
		sub      = "=== RUN   TestSuite\n=== RUN   TestSuite/a/filters\n    suite.go:3: x\n--- PASS: TestSuite (0.00s)\n    --- SKIP: TestSuite/a/filters (0.00s)\n"
		pass     = "PASS\nok  \ttelltale.dev/x\t0.1s\n"
		fail     = "=== RUN   TestBad\n    x_test.go:1: got 1, want 2\n--- FAIL: TestBad (0.00s)\nFAIL\nFAIL\ttelltale.dev/x\t0.1s\nFAIL\n"
	)
	for _, c := range []struct {
		name, prints, ci string
		status, want     string // exit codes
		say              []string
	}{
		{"nothing skipped", pass, "true", "0", "0", []string{"ok  \ttelltale.dev/x"}},
		{"listed", listed + sub + pass, "true", "0", "0", []string{"skipped: x TestBus: no virtual CAN here", "skipped: x TestSuite/a/filters"}},
		{"not listed", listed + unlisted + pass, "true", "0", "1", []string{"skipped and not listed in .ci/skips: x TestTool: curl is not installed"}},
		{"not listed, on a newcomer's machine", unlisted + pass, "", "0", "0", []string{"not listed in .ci/skips: x TestTool: curl is not installed"}},
		{"failed", listed + fail, "true", "1", "1", []string{"x_test.go:1: got 1, want 2", "FAIL\ttelltale.dev/x"}},
		{"does not build", "x/x.go:1:1: expected 'package'\nFAIL\ttelltale.dev/x [build failed]\nFAIL\n", "true", "1", "1", []string{"x/x.go:1:1"}},
		{"another package of the same name", strings.ReplaceAll(listed+pass, "telltale.dev/x", "telltale.dev/y/x"), "true", "0", "1", []string{"y/x TestBus"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			prints, skips := filepath.Join(dir, "prints"), filepath.Join(dir, "skips")
			write(t, prints, c.prints, 0o600)
			write(t, skips, "# a comment\n\nx TestBus\nx TestSuite/*/filters\n", 0o600)
			write(t, filepath.Join(dir, "go"), "#!/bin/sh\ncat '"+prints+"'\nexit "+c.status+"\n", 0o700)
			cmd := exec.CommandContext(t.Context(), filepath.Join(root, ".ci", "test"), "./...")
			cmd.Env = append(os.Environ(), "GO="+filepath.Join(dir, "go"), "SKIPS="+skips, "CI="+c.ci)
			out, err := cmd.CombinedOutput()
			if got := map[bool]string{true: "0", false: "1"}[err == nil]; got != c.want {
				t.Errorf("got %v, want exit %s; it printed\n%s", err, c.want, out)
			}
			for _, want := range c.say {
				if !strings.Contains(string(out), want) {
					t.Errorf("got\n%s\nwant %q in it", out, want)
				}
			}
		})
	}
}
