package buffer_test

import (
	"reflect"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// TestExpire: a forgotten record is declared like an evicted one, once, also
// after a restart, and so is what it would have declared for others.
func TestExpire(t *testing.T) {
	dir := t.TempDir()
	b := open(t, buffer.Config{Dir: dir})
	older := protocol.SeqRange{Boot: protocol.BootID{7}, From: 3, To: 5}
	for seq := uint64(1); seq <= 4; seq++ {
		r := record(protocol.CS1, seq, 100)
		if seq == 2 {
			r.Evicted = []protocol.SeqRange{older}
		}
		must(t, b.Append([]buffer.Record{r}, progress(seq)))
	}
	entries := all(t, b, protocol.CS1)
	b.Ack(entries[0].Position)
	for range 2 { // again, and of an acknowledged one: nothing more
		b.Expire(entries[0].Position)
		b.Expire(entries[1].Position)
	}
	b.Expire(buffer.Position{Class: protocol.CS1, Segment: 1, Index: 99})
	b.Expire(buffer.Position{})
	want := []protocol.SeqRange{older, {Boot: boot1, From: 2, To: 2}}
	check := func(when string, pending []protocol.SeqRange, records, samples uint64) {
		t.Helper()
		if len(pending) != 2 || !(reflect.DeepEqual(pending, want) || reflect.DeepEqual(pending, []protocol.SeqRange{want[1], want[0]})) {
			t.Errorf("%s: got pending %v, want %v", when, pending, want)
		}
		if records != 1 || samples != 10 {
			t.Errorf("%s: got %d records with %d samples evicted, want 1 with 10", when, records, samples)
		}
	}
	st := b.Stats()
	check("at once", b.PendingEvicted(), st.EvictedRecords, st.EvictedSamples)
	if st.Expired != 1 || st.Waiting.Records != 2 {
		t.Errorf("got %d expired and %d waiting, want 1 and 2", st.Expired, st.Waiting.Records)
	}
	must(t, b.Close())
	report, err := buffer.Inspect(dir)
	must(t, err)
	check("on disk", report.Evicted, report.Counts.EvictedRecords, report.Counts.EvictedSamples)

	b = open(t, buffer.Config{Dir: dir})
	if got := all(t, b, protocol.CS1); len(got) != 2 || got[0].Record.ID.Seq != 3 {
		t.Errorf("after a restart: got %d records, want those of sequence 3 and 4", len(got))
	}
	carrier := record(protocol.CS1, 5, 100)
	carrier.Evicted = b.PendingEvicted()
	must(t, b.Append([]buffer.Record{carrier}, progress(5)))
	if got := b.PendingEvicted(); len(got) != 0 {
		t.Errorf("declared, but still pending: %v", got)
	}
}

// TestExpiredSegmentStays: a segment whose last record expired is unlinked
// only after a commit has declared it.
func TestExpiredSegmentStays(t *testing.T) {
	dir := t.TempDir()
	b := open(t, buffer.Config{Dir: dir, SegmentBytes: 64 << 10})
	seq := uint64(0)
	for b.Stats().Segments < 2 {
		seq++
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 8000)}, progress(seq)))
	}
	entries := all(t, b, protocol.CS1)
	for i, e := range entries[:len(entries)-1] {
		if i == 0 {
			b.Expire(e.Position)
		} else {
			b.Ack(e.Position)
		}
	}
	if got := b.Stats().Segments; got != 2 {
		t.Errorf("before the commit: got %d segments, want 2", got)
	}
	must(t, b.Flush())
	must(t, b.Flush())
	if got := b.Stats().Segments; got != 1 {
		t.Errorf("after the commit: got %d segments, want 1", got)
	}
	if got := b.PendingEvicted(); len(got) != 1 || got[0].From != 1 || got[0].To != 1 {
		t.Errorf("got pending %v, want sequence 1", got)
	}
}
