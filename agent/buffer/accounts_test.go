package buffer_test

import (
	"reflect"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// wantBoots checks the accounts after a crash now.
func wantBoots(t *testing.T, c buffer.Config, want ...buffer.Progress) {
	t.Helper()
	c.Dir = copyDir(t, c.Dir)
	if got := open(t, c).Boots(); !reflect.DeepEqual(got, want) {
		t.Errorf("accounts after a crash:\ngot  %v\nwant %v", got, want)
	}
}

// TestAccountsSurviveEviction evicts the one segment that has the older boots.
func TestAccountsSurviveEviction(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 256 << 10}
	b := open(t, c)
	first, second := bootNumber(1), bootNumber(2)
	seq := uint64(0)
	put := func(class protocol.Priority, boot protocol.BootID) {
		seq++
		must(t, b.Append([]buffer.Record{bootRecord(boot, class, seq, 8000)}, bootProgress(boot, seq)))
	}
	for b.Stats().Segments < 4 { // the fourth segment of CS6 has just been begun
		put(protocol.CS6, first)
	}
	last := bootProgress(first, seq)
	put(protocol.CS0, second)
	for len(b.PendingEvicted()) == 0 {
		put(protocol.CS6, second)
	}
	if got := b.Stats().Segments; got != 4 {
		t.Fatalf("got %d segments, want 4: the test is not what it says", got)
	}
	wantBoots(t, c, last, bootProgress(second, seq))
}

// TestAccountsSurviveRotation unlinks the one segment that has the older
// boots, after its class went on in a commit that another class decided.
func TestAccountsSurviveRotation(t *testing.T) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	b := open(t, c)
	first, second := bootNumber(1), bootNumber(2)
	must(t, b.Append([]buffer.Record{bootRecord(first, protocol.CS4, 1, 10)}, bootProgress(first, 1)))
	must(t, b.Append([]buffer.Record{bootRecord(second, protocol.CS1, 2, 70_000)}, bootProgress(second, 2)))
	for _, e := range all(t, b, protocol.CS1) {
		b.Ack(e.Position)
	}
	both := []buffer.Record{bootRecord(second, protocol.CS1, 3, 10), bootRecord(second, protocol.CS4, 4, 10)}
	must(t, b.Append(both, bootProgress(second, 4)))
	if got := b.Stats().Segments; got != 2 {
		t.Fatalf("got %d segments, want 2: the test is not what it says", got)
	}
	wantBoots(t, c, bootProgress(first, 1), bootProgress(second, 4))
}
