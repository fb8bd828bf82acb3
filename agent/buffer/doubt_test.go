package buffer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// TestEmptyingFails: on a disk without room the only segment is emptied in place, and that fails for another reason, before it
// is done or after. Then everything is there or declared, once, at each moment.
func TestEmptyingFails(t *testing.T) {
	for _, done := range []bool{false, true} {
		for _, open := range []bool{false, true} {
			t.Run(fmt.Sprintf("done %v, open batch %v", done, open), func(t *testing.T) { emptyingFails(t, done, open) })
		}
	}
}

func emptyingFails(t *testing.T, done, open bool) {
	d := newSmallDisk(t, 16<<20)
	d.config.SegmentBytes = 1 << 20
	armed, reopened, failed := false, false, false
	var err error
	d.b, err = buffer.OpenFaulty(d.config, func(op string, after bool) error {
		reopened = reopened || armed && op == "create" && after // the only file that can be opened is the one to be emptied
		if reopened && !failed && op == "commit" && after == done {
			failed = true
			return &os.PathError{Op: "sync", Path: "x", Err: syscall.EIO}
		}
		return nil
	})
	must(t, err)
	t.Cleanup(func() { _ = d.b.Close() })
	carrier := record(protocol.CS1, 3, 20_000)
	carrier.Evicted = []protocol.SeqRange{{Boot: boot1, From: 1, To: 2}}
	must(t, d.b.Append([]buffer.Record{carrier}, progress(3)))
	d.seq = 3
	d.append(protocol.CS1, 18, 20_000)
	if open {
		d.seq++
		must(t, d.b.Checkpoint(record(protocol.CS1, d.seq, 3000), progress(d.seq)))
	}
	must(t, d.b.DropReserve())
	d.fill(0)
	armed = true
	err = d.try(protocol.CS1, 10_000)
	if !errors.Is(err, buffer.ErrFull) || !failed {
		t.Fatalf("got %v, want ErrFull", err)
	}
	d.crashed()
	if !done { // others give room back, so nobody has to give anything up any more
		d.giveBack()
	}
	d.append(protocol.CS1, 1, 10_000)
	d.crashed()
	if open {
		must(t, d.b.Append([]buffer.Record{record(protocol.CS1, 22, 4000)}, progress(d.seq)))
	}
	_, evicted := d.addUp()
	if st := d.b.Stats(); int(st.EvictedRecords) != max(evicted-2, 0) || st.LostRecords > 0 {
		t.Errorf("got %+v, %d are declared", st, evicted)
	}
	d.crashed()
	d.ackAll()
	d.crash()
	d.addUp()
}

// crashed looks at the directory as a crash would leave it now.
func (d *smallDisk) crashed() {
	d.Helper()
	b := open(d.T, buffer.Config{Dir: copyDir(d.T, d.config.Dir), MaxBytes: d.config.MaxBytes})
	d.addUpOf(b)
	if st := b.Stats(); st.LostRecords > 0 || st.SetAside > 0 {
		d.Errorf("got %+v after a crash, want nothing lost", st)
	}
	must(d.T, b.Close())
}

// TestPatience: an eviction that does not help puts off the next one for twice as long as the one before, not more.
func TestPatience(t *testing.T) {
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
	now := time.Now()
	d.b.SetNow(func() time.Time { return now })
	d.append(protocol.CS1, 60, 20_000)
	must(t, d.b.DropReserve())
	d.fill(0)
	greedy = true
	waited := 0
	for range 60 {
		before := d.b.Patience()
		if err := d.try(protocol.CS1, 20_000); err != nil && !errors.Is(err, buffer.ErrFull) {
			t.Fatal(err)
		}
		after := d.b.Patience()
		if after > max(time.Minute, 2*before) {
			t.Fatalf("%v after %v, want twice that at most", after, before)
		}
		if after > before {
			waited++
			now = now.Add(after)
		}
	}
	if waited < 3 {
		t.Errorf("evictions were put off %d times, want more", waited)
	}
}

// TestReserveIsCutLater: a segment that becomes the reserve while the names of others are put on disk keeps its length until its own
// name is there, since a power cut may bring the segment back.
func TestReserveIsCutLater(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	const size = 256 << 10
	var b *buffer.Buffer
	adopting, adopted := false, false
	b, err := buffer.OpenFaulty(c, func(op string, done bool) error {
		if adopting && op == "sync" && done {
			adopting = false
			path := filepath.Join(c.Dir, "cs1-00000099.seg")
			adopted = errors.Join(b.DropReserve(), os.WriteFile(path, make([]byte, size), 0o600)) == nil && b.Adopt(path)
		}
		return nil
	})
	must(t, err)
	retire := func(seq uint64) {
		t.Helper()
		for n := range uint64(2) {
			must(t, b.Append([]buffer.Record{record(protocol.CS1, seq+n, 70_000)}, progress(seq+n)))
		}
		for _, e := range slices.Backward(all(t, b, protocol.CS1)) {
			b.Ack(e.Position)
		}
	}
	length := func() int64 {
		t.Helper()
		info, err := os.Stat(filepath.Join(c.Dir, "RESERVE"))
		must(t, err)
		return info.Size()
	}
	retire(1)
	adopting = true
	must(t, b.Flush())
	if got := length(); !adopted || got != size {
		t.Fatalf("adopted %v: the file has %d bytes, want %d", adopted, got, size)
	}
	retire(3)
	must(t, b.Flush())
	if got := length(); got >= size {
		t.Errorf("the reserve has %d bytes, want less", got)
	}
	must(t, b.Close())
}
