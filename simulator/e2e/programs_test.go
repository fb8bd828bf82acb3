package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// workshop is where programs are built; it goes when the tests end.
var workshop = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "telltale-programs-") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := workshop(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// edit breaks a source file on purpose: one exact text becomes another.
type edit struct {
	file     string // from the repository's root
	old, new string
}

// sound builds all programs as they are, once, and gives their folder. Where
// there is no Go, in a virtual machine, TELLTALE_PROGRAMS is a folder of them, from the repository's root.
var sound = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("TELLTALE_PROGRAMS"); dir != "" {
		return filepath.Join(root, dir), nil
	}
	shop, err := workshop()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(shop, "sound")
	return dir, goBuild(dir, "./agent/cmd/...", "./cloud/cmd/...", "./simulator/cmd/...")
})

// programs gives a folder with all programs as they are.
func programs(t *testing.T) string {
	t.Helper()
	dir, err := sound()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// broken builds agent and cloud with edits that exist in the build only, and
// gives their folder. A text that is not found exactly once fails the test: an
// edit must not rot silently.
func broken(t *testing.T, edits ...edit) string {
	t.Helper()
	dir, list := t.TempDir(), overlay(t, edits)
	for _, part := range []string{"agent", "cloud"} {
		name := "telltale-" + part
		if slices.ContainsFunc(edits, func(e edit) bool { return strings.HasPrefix(e.file, part+"/") }) {
			if err := goBuild(dir, "-overlay", list, "./"+part+"/cmd/"+name); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Link(filepath.Join(programs(t), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// root is the repository.
var root = filepath.Join("..", "..")

func goBuild(dir string, args ...string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cmd := exec.Command("go", append([]string{"build", "-o", dir + "/"}, args...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// overlay writes the edited files and the list of them that go build reads.
func overlay(t *testing.T, edits []edit) string {
	t.Helper()
	dir := t.TempDir()
	text := map[string]string{}
	replace := map[string]string{}
	for _, e := range edits {
		path, err := filepath.Abs(filepath.Join(root, filepath.FromSlash(e.file)))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := text[path]; !ok {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text[path] = string(data)
		}
		if n := strings.Count(text[path], e.old); n != 1 {
			t.Fatalf("%s has this text %d times, expected once; the test must follow the source:\n%s", e.file, n, e.old)
		}
		text[path] = strings.Replace(text[path], e.old, e.new, 1)
	}
	for path, edited := range text {
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[path], []byte(edited), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// number reads a setting of the test run from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%q: expected a number", name, text)
	}
	return n
}
