package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
)

const vid = protocol.VehicleID("car1")

func boot(b byte) protocol.BootID { return protocol.BootID{b} }

func id(b byte, seq uint64) protocol.MessageID {
	return protocol.MessageID{Device: "tcu1", Boot: boot(b), Seq: seq}
}

func receive(l *ledger.Ledger, at uint64, i protocol.MessageID, evicted ...protocol.SeqRange) {
	l.Receive(vid, i, ledger.Receipt{Sequence: at, Bytes: 10, Batch: true, Samples: 5, Evicted: evicted})
}

func TestLedgerAccounts(t *testing.T) {
	l := ledger.New(ledger.Bounds{})
	for i, seq := range []uint64{1, 2, 5, 9} {
		receive(l, uint64(i+1), id(1, seq))
	}
	l.Repeat(vid, id(1, 2), 5, false)
	l.Repeat(vid, id(1, 2), 6, true)
	l.Bury(vid, id(1, 3), 7)
	receive(l, 8, id(2, 1), protocol.SeqRange{Boot: boot(1), From: 4, To: 5}, protocol.SeqRange{Boot: boot(1), From: 7, To: 7})
	l.Bury(vid, id(1, 9), 9) // a corrupt copy of what is stored
	got := l.Accounts(vid)
	want := []ledger.Account{
		{
			Vehicle: vid, Device: "tcu1", Boot: boot(1), Highest: 9,
			Counts:   ledger.Counts{Stored: 4, Batches: 4, Samples: 20, Bytes: 40, Duplicates: 1, Replayed: 1, Dead: 2},
			Received: spans(1, 2, 5, 5, 9, 9), Evicted: spans(4, 4, 7, 7), Stayed: spans(5, 5), Buried: spans(3, 3), Gaps: spans(6, 6, 8, 8),
		},
		{
			Vehicle: vid, Device: "tcu1", Boot: boot(2), Highest: 1,
			Counts:   ledger.Counts{Stored: 1, Batches: 1, Samples: 5, Bytes: 10},
			Received: spans(1, 1), Evicted: nil, Buried: nil, Gaps: nil,
		},
	}
	checkAccounts(t, got, want)
	if other := l.Accounts("car2"); len(other) != 0 {
		t.Errorf("another vehicle: got %v, want none", other)
	}
}

func TestLedgerVerdicts(t *testing.T) {
	l := ledger.New(ledger.Bounds{})
	receive(l, 1, id(1, 1))
	l.Bury(vid, id(1, 2), 2)
	tests := []struct {
		name string
		vid  protocol.VehicleID
		id   protocol.MessageID
		want ledger.Verdict
	}{
		{"stored", vid, id(1, 1), ledger.Duplicate},
		{"dead-lettered is not stored", vid, id(1, 2), ledger.Unseen},
		{"next", vid, id(1, 3), ledger.Unseen},
		{"other boot", vid, id(2, 1), ledger.Unseen},
		{"other vehicle", "car2", id(1, 1), ledger.Unseen},
		{"other device", vid, protocol.MessageID{Device: "tcu2", Boot: boot(1), Seq: 1}, ledger.Unseen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := l.Check(tt.vid, tt.id); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	receive(l, 3, id(1, 2)) // replayed
	if a := l.Accounts(vid)[0]; len(a.Buried) != 0 || a.Stored != 2 || a.Duplicates != 0 {
		t.Errorf("after the replay: got %+v, want nothing buried, 2 messages, 0 duplicates", a)
	}
}

func TestLedgerMerge(t *testing.T) {
	up, low := ledger.New(ledger.Bounds{}), ledger.New(ledger.Bounds{})
	for seq := uint64(1); seq <= 8; seq++ {
		stream := low
		if seq%2 == 0 {
			stream = up
		}
		if seq != 5 {
			receive(stream, seq, id(1, seq))
		}
	}
	receive(up, 9, id(1, 10), protocol.SeqRange{Boot: boot(1), From: 6, To: 7}, protocol.SeqRange{Boot: boot(1), From: 9, To: 9}) // 6 and 7 came nevertheless
	receive(up, 10, id(1, 1))                                                                                                     // in both streams
	checkAccounts(t, ledger.Merge(up.Accounts(""), low.Accounts("")), []ledger.Account{{
		Vehicle: vid, Device: "tcu1", Boot: boot(1), Highest: 10, Crossed: 1,
		Counts:   ledger.Counts{Stored: 9, Batches: 9, Samples: 45, Bytes: 90},
		Received: spans(1, 4, 6, 8, 10, 10), Evicted: spans(9, 9), Stayed: spans(6, 7), Gaps: spans(5, 5),
	}})
}

func TestLedgerBounds(t *testing.T) {
	t.Run("words", func(t *testing.T) {
		l := ledger.New(ledger.Bounds{Words: 10})
		for seq := uint64(1); seq <= 2001; seq += 100 {
			receive(l, seq, id(1, seq))
		}
		a := l.Accounts(vid)[0]
		if len(a.Received) > 10 || a.Settled == 0 || a.Stored != 21 || a.Highest != 2001 {
			t.Fatalf("got %+v, want at most 10 words, 21 messages", a)
		}
		if got := l.Check(vid, id(1, a.Settled)); got != ledger.TooOld {
			t.Errorf("settled: got verdict %d, want TooOld", got)
		}
		if got := l.Check(vid, id(1, a.Settled+1)); got != ledger.Unseen {
			t.Errorf("above settled: got verdict %d, want Unseen", got)
		}
		checkRestore(t, l)
	})
	t.Run("boots", func(t *testing.T) {
		l := ledger.New(ledger.Bounds{Boots: 3})
		for b := byte(1); b <= 5; b++ {
			receive(l, uint64(b), id(b, 1))
			receive(l, uint64(b)+100, id(1, uint64(b)+1)) // boot 1 stays in use
		}
		var got []byte
		for _, a := range l.Accounts(vid) {
			got = append(got, a.Boot[0])
		}
		if want := []byte{1, 4, 5}; !bytes.Equal(got, want) {
			t.Errorf("boots remembered: got %v, want %v", got, want)
		}
	})
}

func TestLedgerSnapshotRefused(t *testing.T) {
	l := ledger.New(ledger.Bounds{})
	receive(l, 1, id(1, 1))
	receive(l, 2, id(1, 7), protocol.SeqRange{Boot: boot(3), From: 1, To: 2})
	whole := l.Snapshot()
	for cut := 1; cut < len(whole); cut++ {
		if err := ledger.New(ledger.Bounds{}).Restore(whole[:cut]); !errors.Is(err, ledger.ErrSnapshot) {
			t.Fatalf("cut at %d: got %v, want ErrSnapshot", cut, err)
		}
	}
	if err := l.Restore(append(bytes.Clone(whole), 0)); !errors.Is(err, ledger.ErrSnapshot) {
		t.Errorf("byte too many: got %v, want ErrSnapshot", err)
	}
	if !bytes.Equal(l.Snapshot(), whole) {
		t.Error("a refused snapshot changed the ledger")
	}
	if err := l.Restore(nil); err != nil || len(l.Accounts("")) != 0 {
		t.Errorf("no bytes: got %v, want an empty ledger", err)
	}
}

// FuzzLedger runs the ledger beside a model of plain sets.
func FuzzLedger(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 0, 3, 1, 2, 2, 9, 3, 5})
	f.Add([]byte{3, 0xff, 0, 9, 0, 7, 0, 9, 2, 8, 0, 8})
	f.Fuzz(func(t *testing.T, ops []byte) {
		l := ledger.New(ledger.Bounds{})
		type set = map[uint64]bool
		received, evicted, dead := set{}, set{}, set{}
		var duplicates uint64
		for i := 0; i+1 < len(ops); i += 2 {
			seq, at := uint64(ops[i+1]&63)+1, uint64(i+1)
			switch ops[i] & 3 {
			case 0, 1:
				want := ledger.Unseen
				if received[seq] {
					want = ledger.Duplicate
				}
				got := l.Check(vid, id(1, seq))
				if got != want {
					t.Fatalf("sequence %d: got verdict %d, want %d", seq, got, want)
				}
				if got == ledger.Duplicate {
					l.Repeat(vid, id(1, seq), at, false)
					duplicates++
					continue
				}
				receive(l, at, id(1, seq))
				received[seq] = true
			case 2:
				l.Bury(vid, id(1, seq), at)
				dead[seq] = true
			case 3:
				to := seq + uint64(ops[i+1]>>6)
				l.Receive(vid, protocol.MessageID{Device: "tcu1", Boot: boot(2), Seq: at},
					ledger.Receipt{Sequence: at, Evicted: []protocol.SeqRange{{Boot: boot(1), From: seq, To: to}}})
				for ; seq <= to; seq++ {
					evicted[seq] = true
				}
			}
		}
		for _, a := range l.Accounts(vid) {
			if a.Boot != boot(1) {
				continue
			}
			if a.Duplicates != duplicates || a.Stored != uint64(len(received)) {
				t.Fatalf("got %d messages and %d duplicates, want %d and %d", a.Stored, a.Duplicates, len(received), duplicates)
			}
			for seq := uint64(1); seq < 70; seq++ {
				gap := seq <= a.Highest && !received[seq] && !evicted[seq] && !dead[seq]
				got := [5]bool{in(a.Received, seq), in(a.Evicted, seq), in(a.Stayed, seq), in(a.Buried, seq), in(a.Gaps, seq)}
				want := [5]bool{received[seq], evicted[seq] && !received[seq], evicted[seq] && received[seq], dead[seq] && !received[seq], gap}
				if got != want {
					t.Fatalf("sequence %d: got %v, want %v", seq, got, want)
				}
			}
		}
		checkRestore(t, l)
	})
}

// FuzzSnapshot: what can be restored is written again as the same bytes.
func FuzzSnapshot(f *testing.F) {
	l := ledger.New(ledger.Bounds{})
	receive(l, 1, id(1, 1))
	receive(l, 2, id(1, 7), protocol.SeqRange{Boot: boot(3), From: 1, To: 2})
	f.Add(l.Snapshot())
	f.Add([]byte{4, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		l := ledger.New(ledger.Bounds{})
		if err := l.Restore(in); err != nil || len(in) == 0 || in[0] != 4 { // the other versions are read only
			return
		}
		if got := l.Snapshot(); !bytes.Equal(got, in) {
			t.Fatalf("got %x, want %x", got, in)
		}
	})
}

func in(list []ledger.Span, seq uint64) bool {
	for _, s := range list {
		if s.From <= seq && seq <= s.To {
			return true
		}
	}
	return false
}

func checkRestore(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	again := ledger.New(ledger.Bounds{})
	if err := again.Restore(l.Snapshot()); err != nil {
		t.Fatalf("restore: %v", err)
	}
	checkAccounts(t, again.Accounts(""), l.Accounts(""))
	if !bytes.Equal(again.Snapshot(), l.Snapshot()) {
		t.Fatal("the snapshot of a restored ledger differs")
	}
}

func checkAccounts(t *testing.T, got, want []ledger.Account) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d accounts, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		for _, a := range []*ledger.Account{&g, &w} {
			for _, s := range []*[]ledger.Span{&a.Received, &a.Evicted, &a.Stayed, &a.Buried, &a.Gaps} {
				if len(*s) == 0 {
					*s = nil
				}
			}
		}
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("account %d:\n got %+v\nwant %+v", i, g, w)
		}
	}
}

// TestDeclaredCost: what a batch declares costs little however much was declared before it:
// invented boots beyond those remembered, and runs beyond those kept.
func TestDeclaredCost(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine: nothing for the race detector, under which it is slow")
	}
	for name, declare := range map[string]func(n, i uint64) protocol.SeqRange{
		"boots": func(n, i uint64) protocol.SeqRange {
			var e protocol.SeqRange
			binary.BigEndian.PutUint64(e.Boot[:], (n*1024+i)*0x9E3779B97F4A7C15)
			e.From, e.To = 1, 1
			return e
		},
		"runs of one boot, the newest first": func(n, i uint64) protocol.SeqRange {
			from := 1<<40 - 2*(n*1024+i)
			return protocol.SeqRange{Boot: protocol.BootID{9}, From: from, To: from}
		},
		"runs of many boots": func(n, i uint64) protocol.SeqRange {
			return protocol.SeqRange{Boot: protocol.BootID{byte(i), byte(i >> 8)}, From: 2*n + 1, To: 2*n + 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := ledger.New(ledger.Bounds{})
			began := time.Now()
			const batches = 600
			for n := range uint64(batches) {
				r := ledger.Receipt{Sequence: n + 1}
				for i := range uint64(1024) {
					r.Evicted = append(r.Evicted, declare(n, i))
				}
				l.Receive("car1", protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{1}, Seq: n + 1}, r)
			}
			took := time.Since(began)
			if took > 25*time.Second { // it was 28 s on a quiet machine, and is less than one
				t.Errorf("%d batches of 1,024 ranges took %v", batches, took)
			}
			t.Logf("%v a batch", took/batches)
			again := ledger.New(ledger.Bounds{})
			if err := again.Restore(l.Snapshot()); err != nil {
				t.Fatal(err)
			}
			more := ledger.Receipt{Sequence: batches + 1}
			for i := range uint64(1024) {
				more.Evicted = append(more.Evicted, declare(batches, i))
			}
			id := protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{1}, Seq: batches + 1}
			l.Receive("car1", id, more)
			again.Receive("car1", id, more)
			if !bytes.Equal(l.Snapshot(), again.Snapshot()) {
				t.Error("a ledger that was restored goes on differently")
			}
		})
	}
}

// TestAccountsOfMany: 240,000 separate sequences in each stream are joined without taking their number squared.
func TestAccountsOfMany(t *testing.T) {
	up, low := ledger.New(ledger.Bounds{}), ledger.New(ledger.Bounds{})
	for i := range uint64(240_000) {
		id := protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{1}, Seq: 4*i + 1}
		up.Receive("car1", id, ledger.Receipt{Sequence: i + 1})
		id.Seq += 2
		low.Receive("car1", id, ledger.Receipt{Sequence: i + 1})
	}
	began := time.Now()
	all := ledger.Merge(up.Accounts("car1"), low.Accounts("car1"))
	took := time.Since(began)
	if len(all) != 1 || len(all[0].Received) != 480_000 || len(all[0].Gaps) != 479_999 {
		t.Errorf("got %d accounts, want one with 480,000 runs", len(all))
	}
	if took > 20*time.Second { // it was more than a minute, and is some milliseconds
		t.Errorf("it took %v", took)
	}
	t.Logf("%v", took)
}
