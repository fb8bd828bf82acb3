package buffer_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// TestOrderAcrossRestarts appends, restarts, acknowledges in any order and
// reads in small steps: what is left comes in append order.
func TestOrderAcrossRestarts(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 16 << 20, SegmentBytes: 64 << 10}
	var want []uint64
	seq := uint64(0)
	for round := range 8 {
		b := open(t, c)
		for range 12 {
			seq++
			must(t, b.Append([]buffer.Record{record(protocol.CS3, seq, rand.IntN(20_000))}, progress(seq)))
			want = append(want, seq)
		}
		entries := all(t, b, protocol.CS3)
		rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		for _, e := range entries[:len(entries)/2] {
			b.Ack(e.Position)
			b.Ack(e.Position) // again: no effect
			want = slices.DeleteFunc(want, func(s uint64) bool { return s == e.Record.ID.Seq })
		}
		wantSeqs(t, seqs(t, b, protocol.CS3), want)
		if round%2 == 0 {
			must(t, b.Flush())
			c.Dir = copyDir(t, c.Dir) // a crash after a flush
		}
		must(t, b.Close())
	}
	b := open(t, c)
	wantSeqs(t, seqs(t, b, protocol.CS3), want)
	for _, e := range all(t, b, protocol.CS3) {
		b.Ack(e.Position)
	}
	if st := b.Stats(); st.Waiting != (buffer.Waiting{}) || st.Segments != 1 {
		t.Errorf("drained: got %+v in %d segments, want none in 1", st.Waiting, st.Segments)
	}
}

func TestReadBounds(t *testing.T) {
	b := open(t, buffer.Config{Dir: memoryDir(t)})
	for seq := uint64(1); seq <= 10; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 1000)}, progress(seq)))
	}
	end := b.End(protocol.CS1)
	tests := []struct {
		name                 string
		after                buffer.Position
		maxRecords, maxBytes int
		want                 []uint64
	}{
		{"all", buffer.Position{}, 0, 0, sequence(1, 10)},
		{"records", buffer.Position{}, 3, 0, sequence(1, 3)},
		{"bytes", buffer.Position{}, 100, 2500, sequence(1, 2)},
		{"at least one", buffer.Position{}, 100, 10, sequence(1, 1)},
		{"after", buffer.Position{Class: protocol.CS1, Segment: end.Segment, Index: 6}, 100, 0, sequence(8, 10)},
		{"after the end", end, 100, 0, nil},
		{"after a segment to come", buffer.Position{Segment: end.Segment + 5}, 100, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entries, err := b.Read(tt.after, protocol.CS1, tt.maxRecords, tt.maxBytes)
			must(t, err)
			var got []uint64
			for _, e := range entries {
				got = append(got, e.Record.ID.Seq)
			}
			wantSeqs(t, got, tt.want)
		})
	}
	for _, class := range []protocol.Priority{0, protocol.CS2, 8, 200} {
		if entries, err := b.Read(buffer.Position{}, class, 1, 0); err != nil || len(entries) > 0 {
			t.Errorf("class %d: got %d records, %v; want none", class, len(entries), err)
		}
		if got := b.End(class); got.Segment != 0 {
			t.Errorf("class %d: end: got %+v, want none", class, got)
		}
	}
}

// TestGroupCommit appends from many goroutines while others read and
// acknowledge: everything arrives once, and commits are shared.
func TestGroupCommit(t *testing.T) {
	c := buffer.Config{Dir: t.TempDir(), SegmentBytes: 128 << 10, MaxBytes: 64 << 20}
	b := open(t, c)
	const writers, each = 16, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				class := []protocol.Priority{protocol.CS1, protocol.CS4}[(w+i)%2]
				r := record(class, uint64(w*each+i+1), 3000)
				if err := b.Append([]buffer.Record{r}, buffer.Progress{}); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	done := make(chan struct{})
	got := map[uint64]int{}
	drain := func() {
		for _, class := range b.Classes() {
			for _, e := range all(t, b, class) {
				got[e.Record.ID.Seq]++
				b.Ack(e.Position)
			}
		}
	}
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-b.Appended():
		}
		drain()
	}
	if len(got) != writers*each {
		t.Errorf("got %d different records, want %d", len(got), writers*each)
	}
	for seq, n := range got {
		if n != 1 {
			t.Errorf("sequence %d came %d times", seq, n)
		}
	}
	if st := b.Stats(); st.Commits > writers*each/2 || st.Appended != writers*each {
		t.Errorf("got %d commits for %d appends, want at most half as many", st.Commits, st.Appended)
	}
}

// TestSpaceReturned drains a backlog of 10 MB and measures the directory.
func TestSpaceReturned(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), SegmentBytes: 1 << 20, MaxBytes: 64 << 20}
	b := open(t, c)
	for seq := uint64(1); seq <= 10; seq++ {
		var recs []buffer.Record
		for i := range uint64(16) {
			recs = append(recs, record(protocol.CS1, seq*16+i, 65_536))
		}
		must(t, b.Append(recs, progress(seq)))
	}
	full := b.Stats().DiskBytes
	for {
		entries, err := b.Read(buffer.Position{}, protocol.CS1, 16, 0)
		must(t, err)
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			b.Ack(e.Position)
		}
	}
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 1000, 10)}, progress(1000)))
	if st := b.Stats(); full < 10<<20 || st.DiskBytes > 128<<10 || st.Segments != 1 {
		t.Errorf("%d bytes when full, %d in %d segments when drained; want at most 128 KiB in 1", full, st.DiskBytes, st.Segments)
	}
	if got := allocated(t, c.Dir); got > 256<<10 {
		t.Errorf("the directory takes %d bytes when drained, want at most 256 KiB", got)
	}
}

// allocated is what the files of a directory take on the device, without their holes.
func allocated(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += int64(st.Blocks) * 512
		}
	}
	return bytes
}

// TestCheckpointBecomesRecord crashes with open batches of two classes.
func TestCheckpointBecomesRecord(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t)}
	b := open(t, c)
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 1, 100)}, progress(1)))
	must(t, b.Checkpoint(record(protocol.CS1, 2, 1000), progress(2)))
	must(t, b.Checkpoint(record(protocol.CS1, 2, 2000), progress(3)))
	other := record(protocol.CS1, 3, 10)
	other.Schema = protocol.SchemaHash{77}
	must(t, b.Commit(nil, []buffer.Record{other, record(protocol.CS5, 4, 50)}, progress(4)))
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1})
	if got := b.Stats().Checkpoints; got != 3 {
		t.Errorf("open batches: got %d, want 3", got)
	}
	report, err := buffer.Inspect(copyDir(t, c.Dir))
	must(t, err)
	if report.Waiting.Records != 4 || report.Waiting.Samples != 40 || report.ByBoot[boot1] != report.Waiting {
		t.Errorf("inspect: got %+v, want 4 records with 40 samples", report)
	}
	c.Dir = copyDir(t, c.Dir)
	b = open(t, c)
	for range 3 { // it stays so
		wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1, 2, 3})
		wantSeqs(t, seqs(t, b, protocol.CS5), []uint64{4})
		wantRecord(t, all(t, b, protocol.CS1)[1].Record, record(protocol.CS1, 2, 2000))
		must(t, b.Append([]buffer.Record{record(protocol.CS0, 9, 1)}, buffer.Progress{}))
		must(t, b.Close())
		b = open(t, c)
	}
	b.Ack(all(t, b, protocol.CS1)[1].Position)
	must(t, b.Close())
	b = open(t, c)
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{1, 3})
}

// TestOpenBatchesOfOneTopic: several batches of a topic and schema may be open at once. Each of them becomes a record after a
// crash, and the record of one of them takes nothing from the others.
func TestOpenBatchesOfOneTopic(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	must(t, b.Commit(nil, []buffer.Record{record(protocol.CS1, 1, 1000), record(protocol.CS1, 2, 900)}, progress(2)))
	must(t, b.Commit(nil, []buffer.Record{record(protocol.CS1, 2, 1100), record(protocol.CS1, 3, 800)}, progress(3)))
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 4, 70_000)}, progress(4))) // the next commit begins a segment
	must(t, b.Commit([]buffer.Record{record(protocol.CS1, 2, 1200)}, []buffer.Record{record(protocol.CS1, 1, 1300)}, progress(4)))
	if got := b.Stats().Checkpoints; got != 2 {
		t.Errorf("open batches: got %d, want 2", got)
	}
	wantSeqs(t, seqs(t, b, protocol.CS1), []uint64{4, 2})
	b = open(t, buffer.Config{Dir: copyDir(t, c.Dir)})
	list := all(t, b, protocol.CS1)
	slices.SortFunc(list, func(x, y buffer.Entry) int { return int(x.Record.ID.Seq) - int(y.Record.ID.Seq) })
	for i, bytes := range []int{1300, 1200, 800, 70_000} {
		if i >= len(list) {
			t.Fatalf("got %d records, want 4", len(list))
		}
		wantRecord(t, list[i].Record, record(protocol.CS1, uint64(i+1), bytes))
	}
}

// TestTooManyOpenBatches: how many batches are open at once is bounded, and more of the same are no more batches.
func TestTooManyOpenBatches(t *testing.T) {
	b := open(t, buffer.Config{Dir: memoryDir(t)})
	var list []buffer.Record
	for seq := range uint64(buffer.MaxOpen) {
		list = append(list, record(protocol.CS1, seq+1, 1))
	}
	must(t, b.Commit(nil, list, progress(1)))
	must(t, b.Checkpoint(list[7], progress(1)))
	if err := b.Checkpoint(record(protocol.CS1, buffer.MaxOpen+1, 1), progress(1)); !errors.Is(err, buffer.ErrRecord) {
		t.Errorf("got %v, want ErrRecord", err)
	}
	must(t, b.Append(list[:1], progress(1)))
	must(t, b.Checkpoint(record(protocol.CS1, buffer.MaxOpen+1, 1), progress(1)))
}

// TestBootsAreRemembered keeps the accounts of the newest boots through segments that come and go.
func TestBootsAreRemembered(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	const boots = buffer.MaxBoots + 10
	for n := range boots {
		b := open(t, c)
		must(t, b.Append([]buffer.Record{bootRecord(bootNumber(n), protocol.CS1, 1, 40_000)}, bootProgress(bootNumber(n), uint64(n))))
		for _, e := range all(t, b, protocol.CS1) {
			b.Ack(e.Position)
		}
		must(t, b.Close())
	}
	b := open(t, c)
	list := b.Boots()
	if len(list) != buffer.MaxBoots {
		t.Fatalf("got %d boots, want %d", len(list), buffer.MaxBoots)
	}
	for i, p := range list {
		n := boots - buffer.MaxBoots + i
		if p.Boot != bootNumber(n) || p.Received != uint64(n)*100 {
			t.Fatalf("boot %d: got %+v", n, p)
		}
	}
	if got := b.Stats().Segments; got != 1 {
		t.Errorf("got %d segments, want 1", got)
	}
}
