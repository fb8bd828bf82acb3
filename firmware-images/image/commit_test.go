package image

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLastCommit: what is not as committed is not called like the commit.
func TestLastCommit(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile(filepath.Join("..", "..", ".ci", "version"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, ".ci"), 0o700), os.WriteFile(filepath.Join(dir, ".ci", "version"), script, 0o600)); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@t"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	write("one")
	git("init", "-q")
	git("add", "file")
	git("commit", "-q", "-m", "one")
	name, seconds, err := LastCommit(t.Context(), dir)
	if err != nil || !strings.HasPrefix(name, "0.1.0~git1.") || seconds == 0 {
		t.Fatalf("got %q, %d, %v", name, seconds, err)
	}
	git("tag", "v2.3.4")
	if got, _, err := LastCommit(t.Context(), dir); err != nil || got != "2.3.4" {
		t.Errorf("with a tag: got %q, %v, want 2.3.4", got, err)
	}
	git("tag", "-d", "v2.3.4")
	write("two")
	if got, _, err := LastCommit(t.Context(), dir); err != nil || got != name+"+changed" {
		t.Errorf("got %q, %v, want %s+changed", got, err, name)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "")
	if _, _, err := LastCommit(t.Context(), t.TempDir()); err == nil {
		t.Error("no repository: got no error")
	}
}
