package ledger

import (
	"testing"

	"telltale.dev/protocol"
)

// TestDamagedBoot: a frozen start that cannot be read is taken for new; the process and the other starts go on, and
// what is written then can be read.
func TestDamagedBoot(t *testing.T) {
	l := New(Bounds{})
	id := func(boot byte) protocol.MessageID {
		return protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{boot}, Seq: 7}
	}
	for boot := range byte(2) {
		l.Receive("car1", id(boot), Receipt{Sequence: uint64(boot) + 1})
	}
	l.Cut()
	l.Cut() // nothing came: all is frozen
	d := l.vehicles["car1"].device("tcu1")
	last := d.frozen[len(d.frozen)-1:] // the number of runs of the second start's dead
	last[0] = 9
	if got := l.Check("car1", id(1)); got != Unseen {
		t.Errorf("damaged: got verdict %d, want Unseen", got)
	}
	if got := l.Check("car1", id(0)); got != Duplicate {
		t.Errorf("the other start: got verdict %d, want Duplicate", got)
	}
	l.Receive("car1", id(1), Receipt{Sequence: 3})
	if err := New(Bounds{}).Restore(l.Snapshot()); err != nil {
		t.Error(err)
	}
}
