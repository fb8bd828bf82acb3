package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/agent/durable"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "document")
	for _, content := range []string{"first", "second, longer", ""} {
		if err := durable.Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("got %q, %v, want %q", got, err, content)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want one file", entries, err)
	}
}

// TestReplaceFails: the old content stays, nothing is left lying about, and no folder is named.
func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "document")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil { // a rename onto it is refused
		t.Fatal(err)
	}
	err := durable.Replace(path, []byte("new"))
	if err == nil || strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "document") {
		t.Errorf("got %v, want an error that names the file alone", err)
	}
	if _, err := os.Stat(path + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	if err := durable.Replace(filepath.Join(dir, "none", "document"), nil); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	if durable.Plain(nil) != nil {
		t.Error("nil is no error")
	}
}
