package buffer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// TestFileCutWhileOpen: a segment whose pages cannot be read any more, as on a worn-out device, ends one commit with an error. The
// next one goes into a new file, what is stored behind it is read, and closing does not hang.
func TestFileCutWhileOpen(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	for seq := uint64(1); seq <= 3; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 4000)}, progress(seq)))
	}
	must(t, os.Truncate(filepath.Join(c.Dir, "cs1-00000001.seg"), 0))
	if err := b.Append([]buffer.Record{record(protocol.CS1, 4, 4000)}, progress(4)); err == nil {
		t.Error("a commit into a file without pages succeeds")
	}
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 5, 4000)}, progress(5)))
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{5})
	must(t, b.Close())
	b = open(t, c)
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{5})
	if st := b.Stats(); st.SetAside != 1 {
		t.Errorf("got %+v, want the file set aside", st)
	}
}

// TestFolderRemoved: what is written to a file that somebody has removed does not count as stored, and it is said each time; what was open can be read.
func TestFolderRemoved(t *testing.T) {
	c := buffer.Config{Dir: filepath.Join(memoryDir(t), "buffer")}
	b := open(t, c)
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 1, 10)}, progress(1)))
	must(t, os.RemoveAll(c.Dir))
	for range 3 {
		if err := b.Append([]buffer.Record{record(protocol.CS1, 2, 10)}, progress(2)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want that the file is missing", err)
		}
	}
	if got := b.Stats(); got.Waiting.Records != 1 {
		t.Errorf("got %+v, want only the first record", got)
	}
	_ = b.Close()
}

// TestReadOnly: on a device that has become read-only each append says so, nothing piles up meanwhile, and all goes on when it can be written again.
func TestReadOnly(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t)}
	readOnly, removed := false, 0
	b, err := buffer.OpenFaulty(c, func(op string, done bool) error {
		if readOnly && op == "remove" {
			removed++
		}
		if readOnly && !done {
			return &os.PathError{Op: op, Path: "x", Err: syscall.EROFS}
		}
		return nil
	})
	must(t, err)
	defer b.Close() //nolint:errcheck // the directory goes
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 1, 10)}, progress(1)))
	readOnly = true
	for range 100 {
		if err := b.Append([]buffer.Record{record(protocol.CS1, 2, 10)}, progress(2)); !errors.Is(err, syscall.EROFS) {
			t.Fatalf("got %v", err)
		}
		wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1})
	}
	if removed > 0 {
		t.Errorf("files that were never made are removed %d times", removed)
	}
	readOnly = false
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 2, 10)}, progress(2)))
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1, 2})
}

// TestUnreadableSegment: a segment that the device cannot open for a while holds up neither reading of what is behind it nor evictions.
func TestUnreadableSegment(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	carrier := record(protocol.CS1, 1, 40_000)
	carrier.Evicted = []protocol.SeqRange{{Boot: protocol.BootID{9}, From: 1, To: 1}}
	must(t, b.Append([]buffer.Record{carrier}, progress(1)))
	for seq := uint64(2); seq <= 12; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 40_000)}, progress(seq)))
	}
	must(t, b.Close()) // so that no segment is open
	b = open(t, c)
	path := filepath.Join(c.Dir, "cs1-00000001.seg")
	must(t, os.Rename(path, path+".away"))
	must(t, os.Mkdir(path, 0o700)) // opening it fails
	if got := seqs(t, b, protocol.CS1); len(got) == 0 || got[0] < 2 || got[len(got)-1] != 12 {
		t.Errorf("got %v, want what is behind the segment", got)
	}
	for seq := uint64(13); seq <= 60; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 40_000)}, progress(seq)))
	}
	if b.Stats().EvictedRecords == 0 {
		t.Error("nothing was evicted")
	}
}

// TestAsideIsBounded: files set aside while it runs are as few as those of a start, however many turn out damaged.
func TestAsideIsBounded(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	const segments = 20
	for seq := uint64(1); seq <= segments; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 70_000)}, progress(seq)))
	}
	must(t, b.Close())
	b = open(t, c)
	for _, e := range all(t, b, protocol.CS1) { // damage is found when it is read
		if e.Position.Segment == segments {
			continue
		}
		path := filepath.Join(c.Dir, fmt.Sprintf("cs1-%08d.seg", e.Position.Segment))
		data, err := os.ReadFile(path)
		must(t, err)
		at := bytes.LastIndex(data, e.Record.Payload[60_000:60_100])
		data[at] ^= 1
		must(t, os.WriteFile(path, data, 0o600))
	}
	seqs(t, b, protocol.CS1)
	must(t, b.Flush())
	aside, err := filepath.Glob(filepath.Join(c.Dir, "*.corrupt"))
	must(t, err)
	if st := b.Stats(); st.SetAside != segments-1 || len(aside) != 8 {
		t.Errorf("got %+v and %d files, want %d set aside and 8 kept", st, len(aside), segments-1)
	}
}
