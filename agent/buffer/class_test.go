package buffer_test

import (
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// TestFloodOfOneClass: many records of a high class evict the oldest of that class, up to the bound of that class, and leave the rest to the others.
func TestFloodOfOneClass(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 2 << 20, SegmentBytes: 64 << 10, ClassBytes: [protocol.Priorities + 1]int64{protocol.CS4: 1 << 20}}
	b := open(t, c)
	seq := uint64(0)
	add := func(class protocol.Priority, n int) {
		for range n {
			seq++
			must(t, b.Append([]buffer.Record{record(class, seq, 10_000)}, progress(seq)))
		}
	}
	add(protocol.CS1, 30)
	add(protocol.CS4, 500)
	wantSeqs(t, seqs(t, b, protocol.CS1), sequence(1, 30))
	if got := seqs(t, b, protocol.CS4); len(got) < 30 || got[len(got)-1] != seq {
		t.Errorf("got %d records up to %d, want the newest, in about 1 MiB", len(got), got[len(got)-1])
	}
	waiting, evicted := account(t, b, seq)
	if len(waiting)+len(evicted) != int(seq) {
		t.Errorf("got %d waiting and %d evicted of %d", len(waiting), len(evicted), seq)
	}
	must(t, b.Close())
	if _, err := buffer.Open(buffer.Config{Dir: c.Dir, ClassBytes: [protocol.Priorities + 1]int64{protocol.CS3: -1}}); err == nil {
		t.Error("a bound below 0 is accepted")
	}
}
