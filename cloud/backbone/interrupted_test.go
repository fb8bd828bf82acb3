package backbone_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/cloud/backbone"
)

// TestInterruptedSettings opens directories as a process leaves them that was killed
// while it wrote a stream's settings: they open, nothing acknowledged is lost, and
// what is written then is there at the next start.
func TestInterruptedSettings(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, c := range []struct {
		name   string
		before bool // a value is on disk before the kill
		files  map[string]string
		limits int64 // of the stream UP at the next start
		refuse bool
	}{
		{name: "killed before the checksum of a new bucket", files: map[string]string{"KV_state/meta.sum": ""}},
		{name: "killed before the settings of a new bucket", files: map[string]string{"KV_state/meta.sum": "", "KV_state/meta.inf": ""}},
		{name: "a bucket that was filled without a checksum", before: true, files: map[string]string{"KV_state/meta.sum": ""}},
		{name: "killed while limits were changed, the old ones on disk", before: true, files: map[string]string{"UP/meta.sum": ""}, limits: 1 << 30},
		{name: "limits changed", before: true, limits: 1 << 30},
		{name: "settings damaged", before: true, files: map[string]string{"KV_state/meta.sum": "", "KV_state/meta.inf": "{"}, refuse: true},
		{name: "settings of another stream", before: true, files: map[string]string{"KV_state/meta.sum": "", "KV_state/meta.inf": `{"name":"KV_other"}`}, refuse: true},
		{name: "settings lost", before: true, files: map[string]string{"KV_state/meta.sum": "", "KV_state/meta.inf": ""}, refuse: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			interrupt(t, dir, c.before, c.files)
			cfg := backbone.Config{Dir: dir, Limits: map[string]backbone.Limits{backbone.Up: {MaxBytes: c.limits}}}
			if c.refuse {
				awaitForks()
				if _, err := backbone.Open(cfg); !errors.Is(err, backbone.ErrStart) {
					t.Errorf("got %v, want %v", err, backbone.ErrStart)
				}
				return
			}
			for start := range 3 {
				b := open(t, cfg)
				bucket, err := b.Bucket("state")
				if err != nil {
					t.Fatal(err)
				}
				if c.before || start > 0 {
					if got, err := bucket.Get(t.Context(), "key"); err != nil || string(got.Value) != "value" {
						t.Errorf("start %d: got %q, %v, want the value", start, got.Value, err)
					}
					if got := readAll(t, b, backbone.Up, 0, 3); len(got) != 3 {
						t.Errorf("start %d: got %d messages, want 3", start, len(got))
					}
				} else {
					publish(t, b, numbered(3)...)
				}
				if _, err := bucket.Put(t.Context(), "key", []byte("value")); err != nil {
					t.Fatal(err)
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestInterruptedSettingsOfAnEmptyStream changes the limits of a stream whose messages
// have all been trimmed, and is killed meanwhile: it stays the same stream, whose sequences go on.
func TestInterruptedSettingsOfAnEmptyStream(t *testing.T) {
	dir := t.TempDir()
	interrupt(t, dir, true, nil)
	up := filepath.Join(dir, "jetstream", "$G", "streams", "UP")
	blocks, err := filepath.Glob(filepath.Join(up, "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("got %v, %v, want blocks", blocks, err)
	}
	for _, block := range blocks {
		if err := os.Truncate(block, 0); err != nil {
			t.Fatal(err)
		}
	}
	settings, err := os.ReadFile(filepath.Join(up, "meta.inf")) // they say when the stream was made
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(up, "meta.sum")); err != nil {
		t.Fatal(err)
	}
	b := open(t, backbone.Config{Dir: dir})
	defer b.Close()
	if got, err := os.ReadFile(filepath.Join(up, "meta.inf")); err != nil || string(got) != string(settings) {
		t.Errorf("got %q, %v, want the settings as they were: the stream is kept, not made anew", got, err)
	}
}

// interrupt makes a directory and gives files of its streams another text; an empty one takes the file away.
func interrupt(t *testing.T, dir string, filled bool, files map[string]string) {
	t.Helper()
	b := open(t, backbone.Config{Dir: dir})
	bucket, err := b.Bucket("state")
	if err != nil {
		t.Fatal(err)
	}
	if filled {
		publish(t, b, numbered(3)...)
		if _, err := bucket.Put(t.Context(), "key", []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, "jetstream", "$G", "streams", name)
		if text != "" {
			write(t, path, text)
		} else if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
