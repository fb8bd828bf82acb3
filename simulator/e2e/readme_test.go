package e2e_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadmeIsTrue looks at what README.md says without running it: it is
// short, what it links to and names is there, and make has its targets.
func TestReadmeIsTrue(t *testing.T) {
	text := readme(t)
	if n := strings.Count(text, "\n"); n >= 200 {
		t.Errorf("got %d lines, want less than 200", n)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`).FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("got a link to %s, want a file or folder that exists", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`((?:agent|cloud|hal|protocol|simulator)/[\\w./-]+)`").FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("got the path %s, want a file or folder that exists", m[1])
		}
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile("(?m)(?:`|^    )make ([a-z]+)").FindAllStringSubmatch(text, -1)
	if len(targets) == 0 {
		t.Error("got no make target, want make demo and make test at least")
	}
	for _, m := range targets {
		if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
			t.Errorf("got make %s, want a target of the Makefile", m[1])
		}
	}
}

// commands are the lines of README's blocks marked sh; those marked console
// need root, hardware or another machine.
func commands(t *testing.T) (list []string) {
	t.Helper()
	inside, line := false, ""
	for text := range strings.Lines(readme(t)) {
		text = strings.TrimSpace(text)
		switch {
		case strings.HasPrefix(text, "```"):
			inside = text == "```sh"
		case !inside || text == "" || strings.HasPrefix(text, "#"):
		case strings.HasSuffix(text, `\`):
			line += strings.TrimSuffix(text, `\`)
		default:
			list, line = append(list, line+text), ""
		}
	}
	if len(list) == 0 {
		t.Fatal("got no block marked sh")
	}
	return list
}

// TestReadme runs every command of README.md as a newcomer does: from the
// repository's root, one after the other, telltale up in another window. The root
// is a folder of links, so that what the developer keeps in .telltale stays alone.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:8883", "127.0.0.1:8884", "127.0.0.1:8080"} {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			continue
		}
		_ = conn.Close()
		missing := t.Skipf
		if os.Getenv("CI") == "true" {
			missing = t.Fatalf
		}
		missing("something listens on %s already, such as your own telltale up", addr)
	}
	house := links(t)
	for _, line := range commands(t) {
		if strings.HasPrefix(line, "make ") {
			continue // CI runs these
		}
		if strings.HasPrefix(line+" ", "bin/telltale up ") {
			keepUp(t, house, line)
			continue
		}
		began := time.Now()
		obey(t, house, line)
		t.Logf("%.1fs  %s", time.Since(began).Seconds(), line)
	}
}

// links makes a folder that looks like the repository after make build, with nothing else in it.
func links(t *testing.T) string {
	t.Helper()
	house := t.TempDir()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	link := func(target, name string) {
		target, err := filepath.Abs(target)
		if err == nil {
			err = os.Symlink(target, filepath.Join(house, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	link(programs(t), "bin")
	for _, e := range entries {
		if name := e.Name(); name != "bin" && !strings.HasPrefix(name, ".") {
			link(filepath.Join(root, name), name)
		}
	}
	return house
}

// readmePatience is how long a line may fail: what has just been started needs a moment to have something to show.
const readmePatience = 30 * time.Second

// obey runs a line in a folder until it succeeds.
func obey(t *testing.T, dir, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for end := time.Now().Add(readmePatience); ; time.Sleep(time.Second) {
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		const timedOut = 124 // the exit code of timeout
		if err == nil || strings.HasPrefix(line, "timeout ") && cmd.ProcessState.ExitCode() == timedOut {
			if len(out) == 0 {
				t.Errorf("%s: got nothing, want some output", line)
			}
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s: %v\n%s", line, err, out)
			return
		}
	}
}

// keepUp runs a line that goes on until Ctrl-C, which comes at the end of the test.
func keepUp(t *testing.T, dir, line string) {
	t.Helper()
	args := slices.Clone(strings.Fields(line))
	cmd := exec.Command(filepath.Join(dir, args[0]), args[1:]...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: got %v after Ctrl-C, want exit code 0", line, err)
		}
	})
	for scan := bufio.NewScanner(out); scan.Scan(); {
		if strings.HasPrefix(scan.Text(), "Ctrl-C") {
			return
		}
	}
	t.Fatalf("%s: it ended before it was ready", line)
}
