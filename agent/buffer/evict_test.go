package buffer_test

import (
	"fmt"
	"slices"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// account adds up what became of sequences 1 to last of boot1: each must be
// waiting, declared as evicted, or carried by a waiting record.
func account(t testing.TB, b *buffer.Buffer, last uint64) (waiting, evicted map[uint64]bool) {
	t.Helper()
	waiting, evicted = map[uint64]bool{}, map[uint64]bool{}
	mark := func(set map[uint64]bool, r protocol.SeqRange) {
		for s := r.From; s <= r.To; s++ {
			if evicted[s] || waiting[s] {
				t.Fatalf("sequence %d is accounted for twice", s)
			}
			set[s] = true
		}
	}
	for class := protocol.CS0; class <= protocol.CS6; class++ {
		for _, e := range all(t, b, class) {
			mark(waiting, protocol.SeqRange{From: e.Record.ID.Seq, To: e.Record.ID.Seq})
			for _, r := range e.Record.Evicted {
				mark(evicted, r)
			}
		}
	}
	for _, r := range b.PendingEvicted() {
		mark(evicted, r)
	}
	if got := len(waiting) + len(evicted); got != int(last) {
		t.Fatalf("accounted for %d sequences, want %d", got, last)
	}
	return waiting, evicted
}

func TestEvictionAccounts(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	classes := []protocol.Priority{protocol.CS1, protocol.CS1, protocol.CS3, protocol.CS6, protocol.CS1, protocol.CS0}
	const last = 400
	for seq := uint64(1); seq <= last; seq++ {
		r := record(classes[int(seq)%len(classes)], seq, 8000)
		if r.Priority == protocol.CS6 {
			r.Payload = r.Payload[:500]
		}
		if seq%10 == 0 {
			r.Evicted = b.PendingEvicted() // carried, and maybe brought back later
		}
		must(t, b.Append([]buffer.Record{r}, progress(seq)))
		if st := b.Stats(); st.DiskBytes > c.MaxBytes+(128<<10) {
			t.Fatalf("sequence %d: %d bytes on disk, want at most about %d", seq, st.DiskBytes, c.MaxBytes)
		}
		if seq == last/2 {
			account(t, b, seq)
			must(t, b.Close())
			b = open(t, c)
		}
	}
	waiting, evicted := account(t, b, last)
	for seq := range evicted {
		if classes[int(seq)%len(classes)] == protocol.CS6 {
			t.Errorf("sequence %d of CS6 was evicted before others", seq)
		}
	}
	st := b.Stats()
	if st.EvictedRecords != uint64(len(evicted)) || st.EvictedSamples != 10*st.EvictedRecords || st.Waiting.Records != uint64(len(waiting)) {
		t.Errorf("stats: got %d records with %d samples evicted, %d waiting; want %d, %d, %d",
			st.EvictedRecords, st.EvictedSamples, st.Waiting.Records, len(evicted), 10*len(evicted), len(waiting))
	}
	must(t, b.Close())
	before := fmt.Sprint(waiting, evicted)
	b = open(t, c)
	waiting, evicted = account(t, b, last)
	if got := fmt.Sprint(waiting, evicted); got != before {
		t.Errorf("after a restart:\ngot  %s\nwant %s", got, before)
	}
}

func TestEvictionOrder(t *testing.T) {
	fill := func(t *testing.T, b *buffer.Buffer, class protocol.Priority, from, n uint64) {
		for seq := from; seq < from+n; seq++ {
			must(t, b.Append([]buffer.Record{record(class, seq, 8000)}, progress(seq)))
		}
	}
	tests := []struct {
		name  string
		run   func(*testing.T, *buffer.Buffer)
		class protocol.Priority // that holds all of want
		want  []uint64
		none  protocol.Priority // that has lost some
	}{
		{"low makes room for high", func(t *testing.T, b *buffer.Buffer) {
			fill(t, b, protocol.CS1, 1, 100)
			fill(t, b, protocol.CS5, 101, 50)
		}, protocol.CS5, sequence(101, 150), protocol.CS1},
		{"incoming low does not displace CS6", func(t *testing.T, b *buffer.Buffer) {
			fill(t, b, protocol.CS6, 1, 45)
			fill(t, b, protocol.CS1, 46, 40)
		}, protocol.CS6, sequence(1, 45), protocol.CS1},
		{"a class of one segment", func(t *testing.T, b *buffer.Buffer) {
			fill(t, b, protocol.CS0, 1, 3)
			seq := uint64(4)
			for ; len(b.PendingEvicted()) == 0; seq++ {
				fill(t, b, protocol.CS6, seq, 1)
			}
			wantSeqs(t, seqs(t, b, protocol.CS6), sequence(4, seq-1))
		}, protocol.CS0, nil, protocol.CS0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
			b := open(t, c)
			tt.run(t, b)
			for range 2 {
				wantSeqs(t, seqs(t, b, tt.class), tt.want)
				if len(b.PendingEvicted()) == 0 {
					t.Errorf("nothing was evicted of %s", tt.none)
				}
				account(t, b, b.Boots()[0].NextSeq-1)
				must(t, b.Close())
				b = open(t, c)
			}
		})
	}
}

func TestEvictionOfCheckpointedClass(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	must(t, b.Checkpoint(record(protocol.CS0, 1, 3000), progress(1)))
	for seq := uint64(2); seq <= 150; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS3, seq, 8000)}, progress(seq)))
	}
	b2 := open(t, buffer.Config{Dir: copyDir(t, c.Dir), MaxBytes: 1 << 20, SegmentBytes: 64 << 10})
	wantSeqs(t, seqs(t, b2, protocol.CS0), []uint64{1})
}

func TestCarriedRangesComeBack(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	other := protocol.SeqRange{Boot: protocol.BootID{7}, From: 5, To: 9}
	r := record(protocol.CS1, 1, 100)
	r.Evicted = []protocol.SeqRange{other}
	must(t, b.Append([]buffer.Record{r}, progress(1)))
	if got := b.PendingEvicted(); len(got) != 0 {
		t.Fatalf("pending: got %v, want none", got)
	}
	for seq := uint64(2); seq <= 150; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 8000)}, progress(seq)))
	}
	if got := b.PendingEvicted(); !slices.Contains(got, other) {
		t.Fatalf("pending: got %v, want %v among them", got, other)
	}
	must(t, b.Close())
	b = open(t, c)
	r = record(protocol.CS1, 151, 100)
	r.Evicted = b.PendingEvicted()
	must(t, b.Append([]buffer.Record{r}, progress(151)))
	must(t, b.Close())
	b = open(t, c)
	if got := b.PendingEvicted(); len(got) != 0 {
		t.Fatalf("pending after they were carried: got %v, want none", got)
	}
}

// TestDroppedCheckpoint closes an open batch of a low class into a buffer full of higher ones.
func TestDroppedCheckpoint(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	must(t, b.Checkpoint(record(protocol.CS0, 1, 3000), progress(1)))
	for seq := uint64(2); seq <= 150; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS6, seq, 8000)}, progress(seq)))
	}
	for seq := uint64(151); seq <= 160; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS0, seq, 8000)}, progress(seq)))
	}
	must(t, b.Append([]buffer.Record{record(protocol.CS0, 1, 3000)}, progress(160)))
	account(t, b, 160)
	crashed := open(t, buffer.Config{Dir: copyDir(t, c.Dir), MaxBytes: 1 << 20, SegmentBytes: 64 << 10})
	account(t, crashed, 160)
}
