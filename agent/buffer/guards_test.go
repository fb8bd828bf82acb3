package buffer_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// Each test here is the only one that notices when one certain check of the buffer is taken away.

// TestNamesBeforeDecision: when a commit makes several files, the names of all but the last are on disk
// before the last is written, which decides that the commit counts.
func TestNamesBeforeDecision(t *testing.T) {
	var ops []string
	b, err := buffer.OpenFaulty(buffer.Config{Dir: memoryDir(t)}, func(op string, done bool) error {
		if !done {
			ops = append(ops, op)
		}
		return nil
	})
	must(t, err)
	if len(ops) == 0 || ops[0] != "sync" {
		t.Errorf("Open: got %s, want the directory's own name on disk first", ops)
	}
	ops = nil
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 1, 10), record(protocol.CS4, 2, 10)}, progress(2)))
	want := "create commit rename sync create commit rename sync"
	if got := strings.Join(ops, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	must(t, b.Close())
}

// TestUndecidedBesideDamage: when the file that decides a commit is damaged, what the other files hold of it stays.
func TestUndecidedBesideDamage(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t)}
	b := open(t, c)
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 1, 10)}, progress(1)))
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 2, 10), record(protocol.CS4, 3, 10)}, progress(3)))
	crashed := copyDir(t, c.Dir)
	must(t, os.WriteFile(filepath.Join(crashed, "cs4-00000001.seg"), make([]byte, 64<<10), 0o600))
	b = open(t, buffer.Config{Dir: crashed})
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1, 2})
}

// TestRemovalNotOnDisk: a segment whose removal the disk lost, as in a power cut, is not delivered again.
func TestRemovalNotOnDisk(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	refuse := false
	b, err := buffer.OpenFaulty(c, func(op string, _ bool) error {
		if refuse && op == "sync" {
			refuse = false
			return errInjected
		}
		return nil
	})
	must(t, err)
	for seq := uint64(1); seq <= 12; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 8000)}, progress(seq)))
	}
	first := filepath.Join(c.Dir, "cs1-00000001.seg")
	data, err := os.ReadFile(first)
	must(t, err)
	for _, e := range all(t, b, protocol.CS1) {
		if e.Position.Segment == 1 {
			b.Ack(e.Position)
		}
	}
	waiting := seqs(t, b, protocol.CS1)
	refuse = true
	must(t, b.Flush()) // the first sync in it is that of the removal
	crashed := copyDir(t, c.Dir)
	must(t, os.WriteFile(filepath.Join(crashed, filepath.Base(first)), data, 0o600))
	again := open(t, buffer.Config{Dir: crashed, MaxBytes: c.MaxBytes, SegmentBytes: c.SegmentBytes})
	if got := seqs(t, again, protocol.CS1); refuse || len(got) == 0 || !slices.Equal(got, waiting) {
		t.Errorf("got %v, want %v", got, waiting)
	}
	must(t, b.Close())
}

// TestMissingCommit: a segment that has gone back to an earlier state, while another one knows better, is noticed.
func TestMissingCommit(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t)}
	b := open(t, c)
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 1, 10), record(protocol.CS4, 2, 10)}, progress(2)))
	before := copyDir(t, c.Dir)
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 3, 10), record(protocol.CS4, 4, 10)}, progress(4)))
	crashed := copyDir(t, c.Dir)
	const name = "cs1-00000001.seg"
	data, err := os.ReadFile(filepath.Join(before, name))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(crashed, name), data, 0o600))
	b = open(t, buffer.Config{Dir: crashed})
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1})
	if got := b.Stats().Damaged; got != 1 {
		t.Errorf("%d segments count as damaged, want 1", got)
	}
}

// TestSegmentOfManyRecords: a segment is closed by the number of its records, too.
func TestSegmentOfManyRecords(t *testing.T) {
	b := open(t, buffer.Config{Dir: memoryDir(t)})
	list := make([]buffer.Record, 3000)
	for round := range uint64(3) {
		for i := range list {
			list[i] = record(protocol.CS1, round*3000+uint64(i)+1, 0)
		}
		must(t, b.Append(list, progress(3000*(round+1))))
	}
	if end := b.End(protocol.CS1); end.Segment != 2 {
		t.Errorf("the newest record is at %+v, want it in segment 2", end)
	}
}

// TestHeaderIsStrict: there is one way only to write a header.
func TestHeaderIsStrict(t *testing.T) {
	r := record(protocol.CS1, 1, 0)
	header := buffer.AppendHeader(nil, &r)
	_, err := buffer.ParseHeader(header)
	must(t, err)
	seq := 3 + len(r.ID.Boot) // behind form, flags, priority and boot
	for name, change := range map[string]func([]byte) []byte{
		"unknown flag":      func(b []byte) []byte { b[1] |= 0x80; return b },
		"unknown form":      func(b []byte) []byte { b[0]++; return b },
		"long number":       func(b []byte) []byte { return slices.Replace(b, seq, seq+1, 0x81, 0x00) },
		"a byte more":       func(b []byte) []byte { return append(b, 0) },
		"zero schema":       func(b []byte) []byte { return bytes.Replace(b, r.Schema[:], make([]byte, len(r.Schema)), 1) },
		"unknown priority":  func(b []byte) []byte { b[2] = 99; return b },
		"more than 64 bits": func(b []byte) []byte { return slices.Replace(b, seq, seq+1, bytes.Repeat([]byte{0xff}, 11)...) },
	} {
		if got, err := buffer.ParseHeader(change(bytes.Clone(header))); err == nil {
			t.Errorf("%s: taken for %+v", name, got)
		}
	}
}

// TestMarkIsStrict: of a commit mark with flags of another version nothing is believed.
func TestMarkIsStrict(t *testing.T) {
	for flags := range byte(255) {
		if err := buffer.ParseMark([]byte{flags, 5}); (err == nil) != (flags <= 3) {
			t.Errorf("flags %d: got %v", flags, err)
		}
	}
	for _, body := range [][]byte{nil, {1}, {1, 5, 0}, {1, 0x85, 0}} {
		if err := buffer.ParseMark(body); err == nil {
			t.Errorf("%v is taken for a mark", body)
		}
	}
}

// TestStateIsBounded: a note that says it has more acknowledged records than a segment can hold is refused.
func TestStateIsBounded(t *testing.T) {
	body := make([]byte, 7*3+5)         // next and end of each class, counts
	body = append(body, 0)              // no boot
	body = append(body, 1)              // one note
	body = append(body, 2, 0, 1, 0)     // class, flags, number, void
	note := func(words uint64) []byte { // words full of acknowledged records, and no others
		return append(binary.AppendUvarint(bytes.Clone(body), words), 0)
	}
	if _, err := buffer.ParseState(note(3)); err != nil {
		t.Fatal(err)
	}
	if _, err := buffer.ParseState(note(1 << 20)); err == nil {
		t.Error("a note of 64 million records is taken")
	}
}

// TestFlushGivesUpNothing: on a full disk, acknowledgements are no reason to evict what waits.
func TestFlushGivesUpNothing(t *testing.T) {
	d := newSmallDisk(t, 1<<20)
	d.open()
	d.append(protocol.CS1, 10, 20_000)
	must(t, d.b.Close())
	must(t, os.Remove(filepath.Join(d.config.Dir, "RESERVE")))
	d.fill(0)
	d.open() // so that the accounts need a new file, and have no room for it
	first := all(t, d.b, protocol.CS1)[0]
	d.b.Ack(first.Position)
	d.done[first.Record.ID.Seq] = true
	if err := d.b.Flush(); err != nil && !errors.Is(err, buffer.ErrFull) {
		t.Fatal(err)
	}
	if waiting, evicted := d.addUp(); waiting != 9 || evicted != 0 {
		t.Errorf("got %d waiting and %d evicted, want 9 and 0", waiting, evicted)
	}
}

// TestDropTakesReserve: that an incoming record of a low class was dropped can be written on a full disk, too.
func TestDropTakesReserve(t *testing.T) {
	d := newSmallDisk(t, 1<<20)
	d.open()
	d.append(protocol.CS6, 10, 20_000)
	d.restart() // so that the accounts need a new file
	d.fill(0)
	d.append(protocol.CS1, 1, 20_000)
	if waiting, evicted := d.addUp(); waiting != 10 || evicted != 1 {
		t.Errorf("got %d waiting and %d evicted, want 10 and 1", waiting, evicted)
	}
}

// TestOpenBatchWithoutReserve: a segment with an open batch is not unlinked before that batch is elsewhere.
func TestOpenBatchWithoutReserve(t *testing.T) {
	d := newSmallDisk(t, 16<<20)
	d.config.SegmentBytes = 1 << 20
	d.open()
	d.append(protocol.CS1, 20, 20_000)
	d.seq++
	must(t, d.b.Checkpoint(record(protocol.CS1, d.seq, 5000), progress(d.seq)))
	must(t, os.Remove(filepath.Join(d.config.Dir, "RESERVE")))
	d.fill(0)
	_ = d.try(protocol.CS1, 10_000)
	d.crash()
	if waiting, evicted := d.addUp(); waiting+evicted != int(d.seq) || !slices.Contains(seqs(t, d.b, protocol.CS1), 21) {
		t.Errorf("got %d waiting and %d evicted of %d; the open batch must be there", waiting, evicted, d.seq)
	}
}

// TestTakenAtOnce: when others take each byte that an eviction frees before the buffer has it, it goes on in the
// files that it has, and stops evicting when that does not help.
func TestTakenAtOnce(t *testing.T) {
	d := newSmallDisk(t, 2<<20)
	greedy := false
	var err error
	d.b, err = buffer.OpenFaulty(d.config, func(op string, done bool) error {
		if greedy && op == "remove" && done {
			d.fill(0)
		}
		return nil
	})
	must(t, err)
	t.Cleanup(func() { _ = d.b.Close() })
	d.append(protocol.CS1, 60, 20_000)
	d.fill(0)
	greedy = true
	for range 100 {
		if err := d.try(protocol.CS1, 20_000); err != nil && !errors.Is(err, buffer.ErrFull) {
			t.Fatal(err)
		}
	}
	if waiting, evicted := d.addUp(); waiting < 20 {
		t.Errorf("got %d waiting and %d evicted, want about half of 60 kept", waiting, evicted)
	}
}

// TestHollowReserve: a reserve that takes no room, as after a crash while it was made, is made again.
func TestHollowReserve(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t)}
	must(t, open(t, c).Close())
	path := filepath.Join(c.Dir, "RESERVE")
	info, err := os.Stat(path)
	must(t, err)
	must(t, errors.Join(os.Truncate(path, 0), os.Truncate(path, info.Size())))
	must(t, open(t, c).Close())
	data, err := os.ReadFile(path)
	must(t, err)
	if len(data) < 64<<10 || len(bytes.Trim(data, "\x00")) == 0 {
		t.Errorf("got a reserve of %d bytes with nothing in it", len(data))
	}
}
