package buffer_test

import (
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// TestOutdatedCheckpoint: a segment that becomes the newest of its class again, since the one after it made room on a full
// disk, brings back no batch whose record was in that one.
func TestOutdatedCheckpoint(t *testing.T) {
	d := newSmallDisk(t, 4<<20)
	d.config.SegmentBytes = 64 << 10
	d.open()
	must(t, d.b.Commit([]buffer.Record{record(protocol.CS1, 2, 70_000)}, []buffer.Record{record(protocol.CS1, 1, 5000)}, progress(2)))
	must(t, d.b.Append([]buffer.Record{record(protocol.CS1, 1, 250_000)}, progress(2))) // the first of the next segment
	list := all(t, d.b, protocol.CS1)
	if len(list) != 2 || list[1].Position.Segment != 2 {
		t.Fatalf("got %d records, want two in two segments", len(list))
	}
	d.b.Ack(list[1].Position)
	d.fill(0)
	must(t, d.b.Append([]buffer.Record{record(protocol.CS4, 3, 40_000)}, progress(3)))
	if _, err := os.Stat(filepath.Join(d.config.Dir, "cs1-00000002.seg")); err == nil {
		t.Fatal("the segment that was acknowledged is still there")
	}
	d.crash()
	wantSeqs(t, seqs(t, d.b, protocol.CS1), []uint64{2})
	d.restart()
	wantSeqs(t, seqs(t, d.b, protocol.CS1), []uint64{2})
	wantSeqs(t, seqs(t, d.b, protocol.CS4), []uint64{3})
}

// TestCheckpointBesideDamage: when the newest segment cannot be read, what the one before it has of the open batches is
// delivered, and stays so.
func TestCheckpointBesideDamage(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	must(t, b.Commit([]buffer.Record{record(protocol.CS1, 2, 70_000)}, []buffer.Record{record(protocol.CS1, 1, 5000)}, progress(2)))
	must(t, b.Checkpoint(record(protocol.CS1, 1, 6000), progress(2)))
	dir := copyDir(t, c.Dir)
	must(t, os.WriteFile(filepath.Join(dir, "cs1-00000002.seg"), make([]byte, 64<<10), 0o600))
	for range 2 {
		b = open(t, buffer.Config{Dir: dir, MaxBytes: 4 << 20, SegmentBytes: 64 << 10})
		wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{2, 1})
		must(t, b.Close())
	}
}
