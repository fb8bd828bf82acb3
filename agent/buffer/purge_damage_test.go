package buffer_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// TestPurgedOpenBesideDamage: an open batch that was purged does not come back when later files, or later states of it, turn
// out damaged, nor when its own file can be read again after a start at which it could not.
func TestPurgedOpenBesideDamage(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	must(t, b.Append([]buffer.Record{record(protocol.CS4, 1, 10)}, progress(1))) // the accounts go with the highest class
	must(t, b.Commit([]buffer.Record{record(protocol.CS1, 2, 70_000)}, []buffer.Record{research(protocol.CS1, 3, 900), record(protocol.CS1, 4, 900)}, progress(4)))
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 5, 10)}, progress(5))) // a second segment, which takes the open batches over
	must(t, b.Checkpoint(research(protocol.CS1, 3, 1500), progress(5)))
	wantPurged(t, b, "research", 1)
	must(t, b.Append([]buffer.Record{record(protocol.CS4, 6, 10)}, progress(6)))
	of := func(dir string) buffer.Config {
		return buffer.Config{Dir: dir, MaxBytes: c.MaxBytes, SegmentBytes: c.SegmentBytes}
	}
	check := func(t *testing.T, b *buffer.Buffer) {
		t.Helper()
		for _, e := range all(t, b, protocol.CS1) {
			if e.Record.Purpose == "research" {
				t.Errorf("sequence %d was purged and is there again, with %d bytes", e.Record.ID.Seq, len(e.Record.Payload))
			}
		}
	}
	const earlier, later = "cs1-00000001.seg", "cs1-00000002.seg"

	t.Run("a later file", func(t *testing.T) {
		dir := copyDir(t, c.Dir)
		must(t, os.WriteFile(filepath.Join(dir, later), make([]byte, 64<<10), 0o600))
		for range 2 {
			b := open(t, of(dir))
			check(t, b)
			must(t, b.Append([]buffer.Record{record(protocol.CS4, 7, 10)}, progress(7)))
			must(t, b.Close())
		}
	})
	t.Run("a later state", func(t *testing.T) {
		dir := copyDir(t, c.Dir)
		path := filepath.Join(dir, later)
		data, err := os.ReadFile(path)
		must(t, err)
		payload := research(protocol.CS1, 3, 1500).Payload
		at := bytes.LastIndex(data, payload[1200:1300])
		if at < 0 {
			t.Fatal("the payload is not found in the file")
		}
		data[at] ^= 1
		must(t, os.WriteFile(path, data, 0o600))
		check(t, open(t, of(dir)))
	})
	t.Run("its own file for a while", func(t *testing.T) {
		dir := copyDir(t, c.Dir)
		saved := map[string][]byte{}
		for _, name := range []string{earlier, later} {
			path := filepath.Join(dir, name)
			data, err := os.ReadFile(path)
			must(t, err)
			saved[name] = data
			must(t, os.WriteFile(path, make([]byte, 64<<10), 0o600))
			must(t, os.Mkdir(path+".corrupt", 0o700)) // so it cannot be set aside
		}
		b := open(t, of(dir))
		must(t, b.Append([]buffer.Record{record(protocol.CS4, 7, 10)}, progress(7)))
		must(t, b.Close())
		for name, data := range saved {
			must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		}
		check(t, open(t, of(dir)))
	})
}

// TestSendBesidePurge: while a purge is under way a record that was read is not sent; when the purge fails it may be, and when it succeeds never.
func TestSendBesidePurge(t *testing.T) {
	var b *buffer.Buffer
	var e buffer.Entry
	purging, fail, asked := false, true, 0
	send := func() error { return b.Send(e.Position, e.Record.Purpose, func() error { return nil }) }
	b, err := buffer.OpenFaulty(buffer.Config{Dir: memoryDir(t)}, func(op string, done bool) error {
		if !purging || op != "commit" {
			return nil
		}
		asked++
		if err := send(); !errors.Is(err, buffer.ErrUndecided) {
			t.Errorf("while it is purged: got %v", err)
		}
		if fail {
			return errInjected
		}
		return nil
	})
	must(t, err)
	defer b.Close() //nolint:errcheck // the directory goes
	must(t, b.Append([]buffer.Record{research(protocol.CS1, 1, 10), record(protocol.CS1, 2, 10)}, progress(2)))
	e = all(t, b, protocol.CS1)[0]
	must(t, send())
	purging = true
	if _, err := b.Purge("research"); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	must(t, send())
	fail = false
	wantPurged(t, b, "research", 1)
	purging = false
	must(t, b.Append([]buffer.Record{research(protocol.CS1, 3, 10)}, progress(3)))
	if err := send(); !errors.Is(err, buffer.ErrPurged) || asked != 3 {
		t.Errorf("after the purge: got %v, asked %d times", err, asked)
	}
	for _, e = range all(t, b, protocol.CS1) {
		must(t, send())
		b.Ack(e.Position)
	}
	must(t, send()) // acknowledged, or evicted, it may still go
}
