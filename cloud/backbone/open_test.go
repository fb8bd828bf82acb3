package backbone_test

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// TestOpenErrors wants one line that names the directory by its last element only.
func TestOpenErrors(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(t *testing.T, dir string) backbone.Config
		want    error
		says    string
	}{
		"another version": {func(t *testing.T, dir string) backbone.Config {
			write(t, filepath.Join(dir, "VERSION"), "3\n")
			return backbone.Config{Dir: dir}
		}, backbone.ErrVersion, "has version 3, this program reads version 2"},
		"version is no number": {func(t *testing.T, dir string) backbone.Config {
			write(t, filepath.Join(dir, "VERSION"), "one\n")
			return backbone.Config{Dir: dir}
		}, backbone.ErrVersion, "is no number"},
		"somebody else's directory": {func(t *testing.T, dir string) backbone.Config {
			write(t, filepath.Join(dir, "thesis.txt"), "dear professor")
			return backbone.Config{Dir: dir}
		}, backbone.ErrVersion, "choose an empty directory"},
		"a file in its place": {func(t *testing.T, dir string) backbone.Config {
			write(t, filepath.Join(dir, "file"), "")
			return backbone.Config{Dir: filepath.Join(dir, "file")}
		}, backbone.ErrNotWritable, "not a directory"},
		"jetstream's folder is a file": {func(t *testing.T, dir string) backbone.Config {
			write(t, filepath.Join(dir, "VERSION"), "1\n")
			write(t, filepath.Join(dir, "jetstream"), "")
			return backbone.Config{Dir: dir}
		}, backbone.ErrStart, "jetstream"},
		"nothing listens": {func(*testing.T, string) backbone.Config {
			return backbone.Config{URL: "nats://somebody:secret@127.0.0.1:1", StartTimeout: 3 * time.Second}
		}, backbone.ErrUnreachable, "at 127.0.0.1:1"},
		"malformed URL": {func(*testing.T, string) backbone.Config {
			return backbone.Config{URL: "nats://somebody:secret@127.0.0.1:port", StartTimeout: 3 * time.Second}
		}, backbone.ErrUnreachable, "at a malformed URL"},
		"neither": {func(*testing.T, string) backbone.Config { return backbone.Config{} }, nil, "either a data directory or the URL"},
		"negative limit": {func(_ *testing.T, dir string) backbone.Config {
			return backbone.Config{Dir: dir, Limits: map[string]backbone.Limits{backbone.Up: {MaxBytes: -2}}}
		}, nil, "stream UP: expected no negative number"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			b, err := backbone.Open(test.prepare(t, dir))
			if b != nil || err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			t.Log(err)
			if text := err.Error(); !strings.Contains(text, test.says) || strings.Contains(text, filepath.Dir(dir)) ||
				strings.Contains(text, "\n") || strings.Contains(text, "secret") {
				t.Errorf("got %q, want one line with %q and without the whole path or a password", text, test.says)
			}
		})
	}
}

// TestMalformedURLIsNotQuoted: a password that is not escaped is in no error, not even a part of it.
func TestMalformedURLIsNotQuoted(t *testing.T) {
	const says = "nats server unreachable at a malformed URL: escape user and password in it (%23 for #), or correct it"
	for _, password := range []string{
		"#secret", "secret#", "12#secret", "12#", "/secret", "12/secret", "?secret", "12?secret", "12?", "12,secret", "secret,12", "12,34:secret",
		"%secret", "100%", "secret secret", "[secret", "12,nats://x#secret", "12//",
	} {
		url := "nats://somebody:" + password + "@127.0.0.1:1"
		if _, err := backbone.Open(backbone.Config{URL: url, StartTimeout: 3 * time.Second}); !errors.Is(err, backbone.ErrUnreachable) || err.Error() != says {
			t.Errorf("password %q: got %v, want %s", password, err, says)
		}
	}
	for url, at := range map[string]string{
		"nats://somebody:%23%2F%3F%2C%25@127.0.0.1:1": "127.0.0.1:1",
		"127.0.0.1:1":                                       "127.0.0.1:1",
		"nats://127.0.0.1:1/, 127.0.0.1:2":                  "127.0.0.1:1, 127.0.0.1:2",
		"nats://one:a@127.0.0.1:1,nats://two:b@127.0.0.1:2": "127.0.0.1:1, 127.0.0.1:2",
		"nats://one:a@127.0.0.1:1,127.0.0.1:2":              "127.0.0.1:1, 127.0.0.1:2",
		"one:a@127.0.0.1:1,one:a@127.0.0.1:2":               "127.0.0.1:1, 127.0.0.1:2",
	} {
		_, err := backbone.Open(backbone.Config{URL: url, StartTimeout: 3 * time.Second})
		if !errors.Is(err, backbone.ErrUnreachable) || !strings.Contains(err.Error(), "unreachable at "+at+": ") {
			t.Errorf("%s: got %v, want it tried at %s", url, err, at)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLockedByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd, out := child(t, roleHold, dir, "0")
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	_, err := backbone.Open(backbone.Config{Dir: dir})
	if !errors.Is(err, backbone.ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("got %v, want %v naming process %d", err, backbone.ErrLocked, cmd.Process.Pid)
	}
}

// TestDamagedStreamIsNotReplaced wants Open to stop when JetStream skips a stream, instead of making an empty one.
func TestDamagedStreamIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	b := open(t, backbone.Config{Dir: dir})
	publish(t, b, numbered(10)...)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	meta := filepath.Join(dir, "jetstream", "$G", "streams", "UP", "meta.inf")
	text, err := os.ReadFile(meta)
	if err != nil {
		t.Fatal(err)
	}
	write(t, meta, strings.Replace(string(text), "up.", "UP.", 1))
	if _, err := backbone.Open(backbone.Config{Dir: dir}); !errors.Is(err, backbone.ErrStart) || !strings.Contains(err.Error(), "stream UP") {
		t.Fatalf("got %v, want %v about stream UP", err, backbone.ErrStart)
	}
	write(t, meta, string(text))
	again := open(t, backbone.Config{Dir: dir})
	if got := readAll(t, again, backbone.Up, 0, 10); len(got) != 10 {
		t.Errorf("after repair: got %d messages, want 10", len(got))
	}
}

func TestReopenKeepsAll(t *testing.T) {
	dir := t.TempDir()
	first := open(t, backbone.Config{Dir: dir})
	publish(t, first, numbered(100)...)
	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Fatalf("Close twice: %v", err)
	}
	second := open(t, backbone.Config{Dir: dir, Limits: map[string]backbone.Limits{backbone.Up: {MaxBytes: 1 << 30, MaxAge: time.Hour}}})
	if r := publish(t, second, numbered(1)...)[0]; r.err != nil || r.seq != 101 {
		t.Errorf("got %+v, want sequence 101", r)
	}
	info, err := second.Info(t.Context(), backbone.Up)
	if err != nil || info.First != 1 || info.Last != 101 || info.Messages != 101 || info.Bytes < 100 {
		t.Errorf("info: got %+v, %v, want 1 to 101", info, err)
	}
}

// TestTooSlow wants Open to give up in time, and the directory free again once the slow start has ended.
func TestTooSlow(t *testing.T) {
	dir := t.TempDir()
	_, err := backbone.Open(backbone.Config{Dir: dir, StartTimeout: time.Nanosecond})
	if !errors.Is(err, backbone.ErrStart) || !strings.Contains(err.Error(), "within the time limit of 1ns") {
		t.Fatalf("got %v, want %v within the time limit", err, backbone.ErrStart)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		b, err := backbone.Open(backbone.Config{Dir: dir})
		if err == nil {
			_ = b.Close()
			return
		}
		if !errors.Is(err, backbone.ErrLocked) || time.Now().After(deadline) {
			t.Fatalf("open again: got %v, want the lock to be released soon", err)
		}
	}
}
