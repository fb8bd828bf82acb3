package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/storage"
	"telltale.dev/protocol/events"
)

// TestNote writes and reads a real file.
func TestNote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "note")
	if n, err := storage.Read(path); n != nil || err != nil {
		t.Fatalf("no file: got %v, %v", n, err)
	}
	long := "open /dev/vda6: input/output error\n" + strings.Repeat("ö", 200)
	if err := storage.Write(path, storage.Note{State: events.StorageRecreated, Reason: long, Boot: "b1"}); err != nil {
		t.Fatal(err)
	}
	n, err := storage.Read(path)
	if err != nil || n.State != events.StorageRecreated || n.Boot != "b1" || time.Since(n.Written) > time.Minute {
		t.Fatalf("got %+v, %v", n, err)
	}
	if !strings.HasPrefix(n.Reason, "open (path): input/output error ö") || len(n.Reason) > events.MaxStorageReason {
		t.Errorf("got reason %q", n.Reason)
	}
	again, err := storage.Read(path)
	if err != nil || again.Loss() != n.Loss() {
		t.Errorf("got loss %s, %v; want %s again", again.Loss(), err, n.Loss())
	}
	other := *n
	other.Boot = "b2"
	if other.Loss() == n.Loss() {
		t.Error("two starts have the same loss")
	}
}

func TestNoteRefusals(t *testing.T) {
	if _, err := storage.Read("/dev/zero"); !errors.Is(err, storage.ErrNote) || !strings.HasPrefix(err.Error(), "zero: expected a regular file") {
		t.Errorf("device: got %v", err)
	}
	for text, want := range map[string]string{
		"":                                    "line 1: expected storage",
		"recreated":                           "line 1: expected storage",
		"reason: x\n":                         "storage: expected recreated or memory-only",
		"storage: kept\n":                     "storage: expected recreated or memory-only",
		"storage: recreated\nstorage: kept\n": "line 2: expected storage",
		"storage: recreated\n\nreason: x":     "line 2: expected storage",
		"storage: recreated\ncolour: red":     "line 2: expected storage",
		"storage: recreated\nboot: a/b":       "line 2: boot: expected",
		"storage: memory-only\nreason: " + strings.Repeat("x", 5000): "expected at most",
	} {
		if _, err := storage.Parse(text); !errors.Is(err, storage.ErrNote) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
		path := filepath.Join(t.TempDir(), "note")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := storage.Read(path); !errors.Is(err, storage.ErrNote) || !strings.HasPrefix(err.Error(), "note: ") || strings.Contains(err.Error(), "/note") {
			t.Errorf("%.40q: got %v from the file", text, err)
		}
	}
	if _, err := storage.Read(t.TempDir()); err == nil || strings.Contains(err.Error(), os.TempDir()) {
		t.Errorf("a folder: got %v", err)
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"read /dev/vda6: no such device": "read (path): no such device",
		"e2fsck: exit code 8":            "e2fsck: exit code 8",
		"input/output error":             "input/output error",
		`in "/data/x y" or ../up ~/.key`: `in "(path) y" or (path) (path)`,
		"file=/a:b /":                    "file=(path) (path)",
		" a\x00\tb\r\n c\u2028d\xff":     "a b c d?",
	} {
		if got := storage.Plain(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// FuzzNote: a note that is accepted is the same when it is written again, and can be sent.
func FuzzNote(f *testing.F) {
	f.Add("storage: recreated\nreason: superblock: EOF\nboot: 0f6b1c5e-9a0c\n")
	f.Add("storage: memory-only\n")
	f.Add("reason: open /dev/x: y\nstorage: memory-only")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := storage.Parse(text)
		if err != nil {
			return
		}
		if again, err := storage.Parse(n.String()); err != nil || again != n {
			t.Errorf("got %+v, %v; want %+v", again, err, n)
		}
		event := events.Storage{Version: 1, Device: "tcu", State: n.State, Loss: n.Loss(), Reason: n.Reason}
		if err := event.Validate(); err != nil {
			t.Error(err)
		}
	})
}
