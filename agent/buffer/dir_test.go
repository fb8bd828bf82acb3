package buffer_test

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// oneLine checks that an error is a single clear line without the machine's paths.
func oneLine(t *testing.T, err error, dir string, words ...string) {
	t.Helper()
	for _, w := range append(words, "buffer: ") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q, want %q in it", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), filepath.Dir(dir)) {
		t.Errorf("got %q, want one line without directories", err)
	}
}

func TestLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	must(t, os.Mkdir(dir, 0o700))
	cmd := childCommand(t, "hold", dir, 1)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("child: got %q, %v", line, err)
	}
	_, err = buffer.Open(buffer.Config{Dir: dir})
	if !errors.Is(err, buffer.ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
	oneLine(t, err, dir, "agent", "stop it")
	if _, err := buffer.Inspect(dir); !errors.Is(err, buffer.ErrLocked) {
		t.Errorf("inspect: got %v, want ErrLocked", err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	open(t, buffer.Config{Dir: dir})
}

func TestVersion(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		ok    bool
	}{
		{"empty", nil, true},
		{"other files", map[string]string{"notes.txt": "x"}, true},
		{"ours", map[string]string{"VERSION": "telltale-buffer 2\n"}, true},
		{"former", map[string]string{"VERSION": "telltale-buffer 1\n"}, true},
		{"later", map[string]string{"VERSION": "telltale-buffer 3\n"}, false},
		{"later with segments", map[string]string{"VERSION": "telltale-buffer 12\n", "cs1-00000001.seg": ""}, false},
		{"cut at the first start", map[string]string{"VERSION": ""}, true},
		{"zeros", map[string]string{"VERSION": strings.Repeat("\x00", 18)}, true},
		{"foreign", map[string]string{"VERSION": strings.Repeat("x", 10_000)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "agent")
			must(t, os.Mkdir(dir, 0o700))
			for name, text := range tt.files {
				must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
			}
			b, err := buffer.Open(buffer.Config{Dir: dir})
			if tt.ok {
				must(t, err)
				must(t, b.Close())
				return
			}
			if !errors.Is(err, buffer.ErrVersion) {
				t.Fatalf("got %v, want ErrVersion", err)
			}
			oneLine(t, err, dir, `expected "telltale-buffer 2"`)
		})
	}
}

// TestDamagedVersion: a version file that a power cut has damaged costs nothing but itself.
func TestDamagedVersion(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "zeros": strings.Repeat("\x00", 18), "cut": "telltale-buff", "no number": "telltale-buffer ", "garbled": "\xff\x13tale\x00buffer 1\n", "gone": "none",
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c := buffer.Config{Dir: memoryDir(t), Log: slog.New(slog.NewTextHandler(&log, nil))}
			b := open(t, c)
			must(t, b.Append([]buffer.Record{record(protocol.CS1, 1, 10)}, progress(1)))
			must(t, b.Close())
			path, aside := filepath.Join(c.Dir, "VERSION"), uint64(1)
			must(t, os.WriteFile(path, []byte(text), 0o600))
			if name == "gone" {
				aside = 0
				must(t, os.Remove(path))
			}
			r, err := buffer.Inspect(c.Dir)
			must(t, err)
			if r.Waiting.Records != 1 || r.SetAside != 1 {
				t.Errorf("inspect: got %d records and %d set aside, want 1 and 1", r.Waiting.Records, r.SetAside)
			}
			for range 2 {
				b = open(t, c)
				wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1})
				if got := b.Stats().SetAside; got != aside {
					t.Errorf("got %d set aside, want %d", got, aside)
				}
				must(t, b.Close())
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != "telltale-buffer 2\n" {
				t.Errorf("got version %q and %v", got, err)
			}
			if got, err := os.ReadFile(path + ".corrupt"); aside > 0 && string(got) != text {
				t.Errorf("set aside: got %q and %v, want %q", got, err, text)
			}
			if n := strings.Count(log.String(), "version file was damaged"); n != 1 {
				t.Errorf("reported %d times, want once: %s", n, &log)
			}
		})
	}
}

func TestConfigRefused(t *testing.T) {
	for name, c := range map[string]buffer.Config{
		"small":          {MaxBytes: 1000},
		"negative":       {MaxBytes: -1},
		"small segment":  {SegmentBytes: 1000},
		"large segments": {MaxBytes: 8 << 20, SegmentBytes: 4 << 20},
	} {
		c.Dir = t.TempDir()
		if _, err := buffer.Open(c); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%s: got %v, want what was expected", name, err)
		}
	}
}

func TestRecordRefused(t *testing.T) {
	b := open(t, buffer.Config{Dir: memoryDir(t)})
	for field, change := range map[string]func(*buffer.Record){
		"topic":        func(r *buffer.Record) { r.Topic = "" },
		"priority":     func(r *buffer.Record) { r.Priority = 0 },
		"content type": func(r *buffer.Record) { r.ContentType = strings.Repeat("x", 257) },
		"id":           func(r *buffer.Record) { r.ID.Device = protocol.DeviceID(strings.Repeat("x", 65)) },
		"payload":      func(r *buffer.Record) { r.Payload = make([]byte, buffer.MaxPayload+1) },
		"ttl":          func(r *buffer.Record) { r.TTL = -1 },
		"evicted":      func(r *buffer.Record) { r.Evicted = []protocol.SeqRange{{From: 2, To: 1}} },
	} {
		good, bad := record(protocol.CS1, 1, 10), record(protocol.CS1, 2, 10)
		change(&bad)
		err := b.Append([]buffer.Record{good, bad}, progress(2))
		if !errors.Is(err, buffer.ErrRecord) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v, want ErrRecord that names it", field, err)
		}
	}
	if len(b.Classes()) > 0 || len(b.Boots()) > 0 {
		t.Error("part of a refused append is visible")
	}
}

func TestClosed(t *testing.T) {
	b := open(t, buffer.Config{Dir: memoryDir(t)})
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 1, 10)}, progress(1)))
	must(t, b.Close())
	must(t, b.Close())
	if err := b.Append(nil, progress(1)); !errors.Is(err, buffer.ErrClosed) {
		t.Errorf("append: got %v, want ErrClosed", err)
	}
	if _, err := b.Read(buffer.Position{}, protocol.CS1, 1, 0); !errors.Is(err, buffer.ErrClosed) {
		t.Errorf("read: got %v, want ErrClosed", err)
	}
	b.Ack(buffer.Position{Class: protocol.CS1, Segment: 1})
}

func TestInspectNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	_, err := buffer.Inspect(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want fs.ErrNotExist", err)
	}
	oneLine(t, err, dir, "VERSION")
}
