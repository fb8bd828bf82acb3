package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFuzzIsJudged runs .ci/fuzz with a go that prints what the real one
// prints: the time that ran out is no failure, every other one is.
func TestFuzzIsJudged(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash")
	}
	const (
		moving = "fuzz: elapsed: 3s, execs: 17 (6/sec), new interesting: 1 (total: 2)\nfuzz: elapsed: 6s, execs: 29 (4/sec), new interesting: 1 (total: 2)\n"
		still  = "fuzz: elapsed: 9s, execs: 29 (0/sec), new interesting: 1 (total: 2)\n"
		fail   = "--- FAIL: FuzzX (20.14s)\n"
		late   = "    context deadline exceeded\n"
		end    = "FAIL\nexit status 1\nFAIL\tx\t20.150s\n"
	)
	for _, c := range []struct {
		name, prints, status, want string
	}{
		{"good", moving + "PASS\nok  \tx\t6.1s\n", "0", "0"},
		{"slow for a while", moving + still + still + "PASS\nok  \tx\t12.1s\n", "0", "0"},
		{"hangs", moving + still + still + still + "PASS\nok  \tx\t15.1s\n", "0", "1"},
		{"the time ran out", moving + fail + late + end, "1", "0"},
		{"the time ran out before anything ran", fail + late + end, "1", "1"},
		{"the time ran out in the test itself", moving + fail + "    x_test.go:9: got an error, want none\n" + late + end, "1", "1"},
		{"a failing input", moving + fail + "    --- FAIL: FuzzX (0.00s)\n        x_test.go:9: boom\n\n    Failing input written to testdata/fuzz/FuzzX/0\n" + end, "1", "1"},
		{"does not build", "x_test.go:1:1: expected 'package'\nFAIL\tx [setup failed]\n", "1", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			prints := filepath.Join(dir, "prints")
			write(t, prints, c.prints, 0o600)
			write(t, filepath.Join(dir, "go"), "#!/bin/sh\ncat '"+prints+"'\nexit "+c.status+"\n", 0o700)
			cmd := exec.CommandContext(t.Context(), filepath.Join(root, ".ci", "fuzz"), "./x", "FuzzX", "20s")
			cmd.Env = append(os.Environ(), "GO="+filepath.Join(dir, "go"))
			out, err := cmd.CombinedOutput()
			if got := map[bool]string{true: "0", false: "1"}[err == nil]; got != c.want {
				t.Errorf("got %v, want exit %s; it printed\n%s", err, c.want, out)
			}
			for line := range strings.Lines(c.prints) {
				if !strings.Contains(string(out), "./x FuzzX: "+line) {
					t.Errorf("got\n%s\nwant the line %q in it", out, line)
				}
			}
		})
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
