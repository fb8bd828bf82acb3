package buffer_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// addPending lets many single sequences of another boot wait to be declared: a record that declares them is stored, and its time is over.
func addPending(t *testing.T, b *buffer.Buffer, seq, records uint64) (last protocol.SeqRange) {
	t.Helper()
	other := protocol.BootID{9}
	for n := range records {
		r := record(protocol.CS6, seq+n, 10)
		for i := range uint64(buffer.MaxEvicted) {
			from := 2*(n*buffer.MaxEvicted+i) + 1
			last = protocol.SeqRange{Boot: other, From: from, To: from}
			r.Evicted = append(r.Evicted, last)
		}
		must(t, b.Append([]buffer.Record{r}, progress(seq+n)))
		for _, e := range all(t, b, protocol.CS6) {
			b.Expire(e.Position)
		}
	}
	must(t, b.Flush())
	return last
}

// TestPendingOnSmallDevice: what waits to be declared takes a part of a segment, so a small buffer still has room for records. Which
// ranges found no room is counted and said, and the newest are kept, also over a restart.
func TestPendingOnSmallDevice(t *testing.T) {
	var log bytes.Buffer
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10, Log: slog.New(slog.NewTextHandler(&log, nil))}
	b := open(t, c)
	last := addPending(t, b, 1, 20)
	for seq := uint64(21); seq <= 120; seq++ {
		must(t, b.Append([]buffer.Record{record(protocol.CS1, seq, 4000)}, progress(seq)))
	}
	for range 2 {
		if got := len(seqs(t, b, protocol.CS1)); got < 60 { // 97 without them
			t.Errorf("got %d records in the buffer, want 60 and more", got)
		}
		pending := b.PendingEvicted()
		kept := false
		for _, r := range pending {
			kept = kept || r == last
		}
		if len(pending) < 250 || !kept {
			t.Errorf("got %d ranges, want 250 and more, up to %v", len(pending), last)
		}
		must(t, b.Close())
		b = open(t, c)
	}
	if n := strings.Count(log.String(), "can be declared"); n == 0 || n > 20 {
		t.Errorf("it is said %d times, want it said and not for each", n)
	}
}

// TestPendingOnFullDisk: on a small disk without room the declarations fit into the reserve, so that nothing has to go before it is declared.
func TestPendingOnFullDisk(t *testing.T) {
	var log bytes.Buffer
	d := newSmallDisk(t, 2<<20)
	d.config.Log = slog.New(slog.NewTextHandler(&log, nil))
	d.open()
	d.append(protocol.CS1, 40, 20_000)
	addPending(t, d.b, d.seq+1, 20)
	d.seq += 20
	d.restart() // the next commit needs a new file
	d.fill(0)
	for range 10 {
		must(t, d.b.Append([]buffer.Record{record(protocol.CS1, d.seq+1, 20_000)}, progress(d.seq+1)))
		d.seq++
	}
	if text := log.String(); strings.Contains(text, "goes before they are written") || d.b.Stats().EvictedRecords <= 20 {
		t.Errorf("got %+v and log %s", d.b.Stats(), text)
	}
}
