package agent_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/config"
	"telltale.dev/agent/storage"
	"telltale.dev/agent/update"
	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
)

// smallDisk mounts a file system and gives what fills it. Mounting needs root; CI has it.
func smallDisk(t *testing.T) (dir string, fill func()) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k,nr_inodes=200"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("a small disk needs root, to mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir, func() {
		f, err := os.Create(filepath.Join(dir, "filler"))
		for page := make([]byte, 4096); err == nil; {
			_, err = f.Write(page)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDiskWriters: each small file of the agent that finds no room is an error that says so and names no
// folder, what was there before stays, and the same call goes well when there is room again.
func TestFullDiskWriters(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	doc := []byte(strings.Repeat("a schema", 1000))
	tests := []struct {
		name string
		prep func(t *testing.T, dir string) (write func() error, kept func() bool)
	}{
		{"document", func(t *testing.T, dir string) (func() error, func() bool) {
			path := filepath.Join(dir, "document")
			if err := durable.Replace(path, []byte("old")); err != nil {
				t.Fatal(err)
			}
			return func() error { return durable.Replace(path, doc) }, func() bool {
				got, err := os.ReadFile(path)
				return err == nil && string(got) == "old"
			}
		}},
		{"schema", func(t *testing.T, dir string) (func() error, func() bool) {
			s, err := config.OpenSchemas(filepath.Join(dir, "schemas"))
			if err != nil {
				t.Fatal(err)
			}
			hash := protocol.SchemaHash{1}
			return func() error { return s.Save(hash, doc) }, func() bool { _, ok := s.Schema(hash); return !ok }
		}},
		{"buffer", func(t *testing.T, dir string) (func() error, func() bool) {
			b, err := buffer.Open(buffer.Config{Dir: filepath.Join(dir, "buffer"), Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			r := buffer.Record{Topic: "t", Priority: protocol.CS1, Payload: make([]byte, 150_000)}
			return func() error { return b.Append([]buffer.Record{r}, buffer.Progress{}) }, func() bool { return len(b.Classes()) == 0 }
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, fill := smallDisk(t)
			write, kept := tt.prep(t, dir)
			fill()
			for range 2 {
				err := write()
				if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), dir) {
					t.Errorf("got %v, want ENOSPC without the folder", err)
				}
			}
			if !kept() {
				t.Error("what was there before is gone")
			}
			if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
				t.Fatal(err)
			}
			if err := write(); err != nil {
				t.Errorf("with room again: %v", err)
			}
		})
	}
}

// TestFullDiskOpens: nothing of the agent needs room to start, not even the first time.
func TestFullDiskOpens(t *testing.T) {
	dir, fill := smallDisk(t)
	fill()
	quiet := slog.New(slog.DiscardHandler)
	b, err := buffer.Open(buffer.Config{Dir: filepath.Join(dir, "buffer"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // it has nothing to write
	if _, err := config.OpenSchemas(filepath.Join(dir, "schemas")); err != nil {
		t.Error(err)
	}
	if _, err := update.Open(update.Config{Dir: filepath.Join(dir, "update"), Endpoints: []string{"x:1"}, Log: quiet}); err != nil {
		t.Error(err)
	}
	storage.New(storage.Config{Note: filepath.Join(dir, "none"), Dir: dir, Log: quiet})
}
