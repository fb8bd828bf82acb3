package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale.dev/hal/durable"
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

func TestReplaceMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "document")
	if err := os.WriteFile(path+".tmp", []byte("left by a crash, and longer"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o644} {
		if err := durable.ReplaceMode(path, []byte("new"), mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != mode || info.Size() != 3 {
			t.Errorf("got %v, %v, want mode %v and 3 bytes", info, err, mode)
		}
	}
}

// TestErrors: what an error keeps of a file's name, and what it is for.
func TestErrors(t *testing.T) {
	path := &fs.PathError{Op: "open", Path: "/secret/name", Err: syscall.EDQUOT}
	link := &os.LinkError{Op: "rename", Old: "/secret/a", New: "/secret/b", Err: syscall.ENOSPC}
	for _, tt := range []struct {
		err         error
		plain, bare string
		room        bool
	}{
		{path, "open name: disk quota exceeded", "disk quota exceeded", true},
		{link, "rename b: no space left on device", "no space left on device", true},
		{fmt.Errorf("x: %w", path), "open name: disk quota exceeded", "disk quota exceeded", true},
		{syscall.EIO, "input/output error", "input/output error", false},
		{&fs.PathError{Op: "write", Path: "/secret/name", Err: syscall.EFBIG}, "write name: file too large", "file too large", false},
	} {
		plain, bare := durable.Plain(tt.err), durable.Bare(tt.err)
		if plain.Error() != tt.plain || bare.Error() != tt.bare {
			t.Errorf("%v: got %q and %q, want %q and %q", tt.err, plain, bare, tt.plain, tt.bare)
		}
		for _, err := range []error{tt.err, plain, bare} {
			if got := durable.LacksRoom(err); got != tt.room {
				t.Errorf("%v: lacks room: got %v, want %v", err, got, tt.room)
			}
		}
	}
	if durable.Bare(nil) != nil || durable.LacksRoom(nil) {
		t.Error("nil is no error")
	}
}

// TestLocks: shared locks admit each other, an exclusive one nobody, and closing the file gives it back.
func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LOCK")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	try := func(f *os.File, mode durable.Mode, want error) {
		t.Helper()
		if err := durable.TryLock(f, mode); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	a, b, c := open(), open(), open()
	try(a, durable.Shared, nil)
	try(b, durable.Shared, nil)
	try(c, durable.Exclusive, durable.ErrLocked)
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	try(c, durable.Exclusive, nil)
	d := open()
	try(d, durable.Shared, durable.ErrLocked)
	got := make(chan error, 1)
	go func() { got <- durable.Lock(d, durable.Exclusive) }()
	select {
	case err := <-got:
		t.Fatalf("locked beside another lock: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := durable.Lock(d, durable.Shared); err == nil {
		t.Error("a closed file is locked")
	}
}

// TestReadRegular: only regular files of bounded size are read, and nothing is waited for.
func TestReadRegular(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int{"empty": 0, "fits": 100, "large": 101} {
		if err := os.WriteFile(at(name), make([]byte, size), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(syscall.Mkfifo(at("pipe"), 0o600), os.Symlink("fits", at("link")), os.Symlink("pipe", at("link to pipe"))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		want error
		size int
	}{
		{"empty", nil, 0},
		{"fits", nil, 100},
		{"link", nil, 100},
		{"large", durable.ErrTooLarge, 0},
		{"pipe", durable.ErrNotRegular, 0},
		{"link to pipe", durable.ErrNotRegular, 0},
		{".", durable.ErrNotRegular, 0},
		{"none", fs.ErrNotExist, 0},
	} {
		data, info, err := durable.ReadRegular(at(tt.name), 100)
		if !errors.Is(err, tt.want) || len(data) != tt.size || err == nil && info.Mode() != 0o640 {
			t.Errorf("%s: got %d bytes, %v, %v, want %d and %v", tt.name, len(data), info, err, tt.size, tt.want)
		}
	}
	if _, _, err := durable.ReadRegular(at("large"), 100); err == nil || err.Error() != "expected at most 100 bytes" {
		t.Errorf("got %v, want the bound", err)
	}
	if _, _, err := durable.ReadRegular("/dev/zero", 100); !errors.Is(err, durable.ErrNotRegular) {
		t.Errorf("a device: got %v", err)
	}
}

// TestMatch: what is special in a pattern is nothing special in the folder's name.
func TestMatch(t *testing.T) {
	for _, name := range []string{"plain", "a*b", "wh?t", "[ab]", `back\slash`, "x[y"} {
		folder := filepath.Join(t.TempDir(), name)
		for _, file := range []string{"one/1.blk", "two/2.blk", "two/3.txt"} {
			path := filepath.Join(folder, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := durable.Match(folder, "*", "*.blk")
		if want := []string{filepath.Join(folder, "one", "1.blk"), filepath.Join(folder, "two", "2.blk")}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
	if _, err := durable.Match("folder", "["); err == nil {
		t.Error("got no error for a malformed pattern")
	}
}
