package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
)

// small bounds are reached soon.
var small = ledger.Bounds{Boots: 4, VehicleBoots: 6, Words: 24}

// feed is message number at of a stream in which vehicles alternate, lose, repeat, jump, declare and invent.
func feed(l *ledger.Ledger, r *rand.Rand, at uint64) {
	vid := protocol.VehicleID(fmt.Sprint("car", r.IntN(3)))
	id := protocol.MessageID{Device: protocol.DeviceID(fmt.Sprint("tcu", r.IntN(3))), Boot: protocol.BootID{byte(r.IntN(2 + r.IntN(6)))}, Seq: 1 + 2*(at%1000)}
	switch r.IntN(9) {
	case 0:
		id.Seq += r.Uint64N(5)
	case 1:
		id.Seq = 1 + r.Uint64N(1<<uint(4+r.IntN(58)))
	}
	receipt := ledger.Receipt{Sequence: at, Bytes: r.IntN(500), Batch: r.IntN(2) == 0, Samples: r.Uint64N(90), Dropped: r.Uint64N(2)}
	if r.IntN(10) == 0 {
		for range 1 + r.IntN(12) {
			from := 1 + r.Uint64N(1<<uint(4+r.IntN(58)))
			receipt.Evicted = append(receipt.Evicted, protocol.SeqRange{Boot: protocol.BootID{byte(r.IntN(9))}, From: from, To: from + r.Uint64N(200)})
		}
	}
	bury, replay := r.IntN(10) == 0, r.IntN(2) == 0
	switch verdict := l.Check(vid, id); {
	case verdict == ledger.Duplicate:
		l.Repeat(vid, id, at, replay)
	case verdict == ledger.TooOld || bury:
		l.Bury(vid, id, at)
	default:
		l.Receive(vid, id, receipt)
	}
}

// TestChain: whenever it is cut, restored or folded, a
// ledger goes on as one that only ever was in memory, and its chain says what it says.
func TestChain(t *testing.T) {
	for seed := range uint64(40) {
		stream := func() *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
		chance := rand.New(rand.NewPCG(seed, 2))
		whole, kept := ledger.New(small), ledger.New(small)
		a, b := stream(), stream()
		var chain [][]byte
		for at := uint64(1); at <= 1500; at++ {
			feed(whole, a, at)
			feed(kept, b, at)
			if chance.IntN(20) != 0 {
				continue
			}
			chain = append(chain, kept.Cut())
			switch chance.IntN(6) {
			case 0: // nothing came: all is frozen
				chain = append(chain, kept.Cut())
			case 1:
				base, err := ledger.Fold(chain...)
				if err != nil {
					t.Fatal(err)
				}
				chain = [][]byte{base}
			case 2: // commits that went wrong are read again after a restart
				kept = ledger.New(small)
				if err := kept.Restore(chain...); err != nil {
					t.Fatal(err)
				}
			}
			if want, got := whole.Snapshot(), kept.Snapshot(); !bytes.Equal(got, want) {
				t.Fatalf("seed %d at %d: it differs from one without cuts", seed, at)
			}
			if got, err := ledger.Fold(chain...); err != nil || !bytes.Equal(got, kept.Snapshot()) {
				t.Fatalf("seed %d at %d: the chain of %d differs, %v", seed, at, len(chain), err)
			}
		}
		if !reflect.DeepEqual(kept.Accounts(""), whole.Accounts("")) {
			t.Fatalf("seed %d: the accounts differ", seed)
		}
	}
}

// TestCutIsForGood: a cut holds what came before it, and the next one what came after it.
func TestCutIsForGood(t *testing.T) {
	l := ledger.New(ledger.Bounds{})
	receive(l, 1, id(1, 1))
	first := l.Cut()
	receive(l, 2, id(1, 3))
	second := l.Cut()
	again := ledger.New(ledger.Bounds{})
	if err := again.Restore(first); err != nil {
		t.Fatal(err)
	}
	if got := again.Check(vid, id(1, 3)); got != ledger.Unseen {
		t.Errorf("after the cut: got verdict %d, want Unseen", got)
	}
	if got := again.Check(vid, id(1, 1)); got != ledger.Duplicate {
		t.Errorf("before the cut: got verdict %d, want Duplicate", got)
	}
	if got, err := ledger.Fold(first, second); err != nil || !bytes.Equal(got, l.Snapshot()) {
		t.Errorf("both cuts: got %v, or another ledger", err)
	}
	if got, want := l.Cut(), ledger.New(ledger.Bounds{}).Cut(); !bytes.Equal(got, want) {
		t.Errorf("nothing came: got %x, want %x", got, want)
	}
}

// TestCutRefused: a cut that is torn anywhere, or with a byte too many, is refused and leaves the ledger as it was.
func TestCutRefused(t *testing.T) {
	l := ledger.New(ledger.Bounds{Boots: 2})
	receive(l, 1, id(1, 1))
	receive(l, 2, id(2, 1))
	base := l.Snapshot()
	l.Cut()
	for seq := uint64(1); seq < 300; seq += 2 {
		receive(l, seq, id(3, seq), protocol.SeqRange{Boot: boot(4), From: seq, To: seq})
	}
	whole := l.Cut()
	before := l.Snapshot()
	for cut := 1; cut < len(whole); cut++ {
		if err := l.Restore(base, whole[:cut]); !errors.Is(err, ledger.ErrSnapshot) {
			t.Fatalf("cut at %d: got %v, want ErrSnapshot", cut, err)
		}
	}
	if err := l.Restore(base, append(bytes.Clone(whole), 0)); !errors.Is(err, ledger.ErrSnapshot) {
		t.Errorf("byte too many: got %v, want ErrSnapshot", err)
	}
	if err := l.Restore([]byte{9}); !errors.Is(err, ledger.ErrSnapshot) {
		t.Errorf("unknown version: got %v, want ErrSnapshot", err)
	}
	if !bytes.Equal(l.Snapshot(), before) {
		t.Error("a refused cut changed the ledger")
	}
}

// FuzzCut: whatever is read as a cut does not break what is done with the ledger after it.
func FuzzCut(f *testing.F) {
	l := ledger.New(small)
	r := rand.New(rand.NewPCG(1, 1))
	for at := range uint64(200) {
		feed(l, r, at+1)
	}
	base := l.Snapshot()
	l.Cut()
	for at := range uint64(100) {
		feed(l, r, at+201)
	}
	f.Add(l.Cut())
	f.Add([]byte{5, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		l := ledger.New(small)
		if err := l.Restore(base, in); err != nil {
			return
		}
		checkRestore(t, l)
		r := rand.New(rand.NewPCG(1, 1))
		for at := range uint64(50) {
			feed(l, r, at+1)
		}
	})
}

// TestVersion1 reads a snapshot that the version before wrote.
func TestVersion1(t *testing.T) {
	data, err := os.ReadFile("testdata/version1.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/version1.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []ledger.Account
	if err := json.Unmarshal(golden, &want); err != nil {
		t.Fatal(err)
	}
	l := ledger.New(ledger.Bounds{})
	if err := l.Restore(data); err != nil {
		t.Fatal(err)
	}
	checkAccounts(t, l.Accounts(""), want)
	checkRestore(t, l)
	for cut := 1; cut < len(data); cut++ {
		if err := ledger.New(ledger.Bounds{}).Restore(data[:cut]); !errors.Is(err, ledger.ErrSnapshot) {
			t.Fatalf("cut at %d: got %v, want ErrSnapshot", cut, err)
		}
	}
	next := protocol.MessageID{Device: "tcu0", Boot: protocol.BootID{4, 4}, Seq: 1 << 40}
	l.Receive("car4", next, ledger.Receipt{Sequence: 1 << 20})
	folded, err := ledger.Fold(data, l.Cut())
	if err != nil || !bytes.Equal(folded, l.Snapshot()) {
		t.Errorf("a cut upon it: got %v, or another ledger", err)
	}
}

// TestHighestSequences: a start whose messages have the highest numbers, with gaps, is frozen, kept and read as any other.
func TestHighestSequences(t *testing.T) {
	const top = 1<<63 - 1
	l := ledger.New(ledger.Bounds{})
	var set ledger.Ranges
	for i, seq := range []uint64{top, top - 2, top - 4, top - 6, top - 8} {
		receive(l, uint64(i+1), id(1, seq))
		set.Add(ledger.Span{From: seq, To: seq})
	}
	written := set.AppendTo(nil)
	if read, rest, err := ledger.ReadRanges(written); err != nil || len(rest) > 0 || !reflect.DeepEqual(read.Spans(), set.Spans()) {
		t.Errorf("the set: got %v, %v", read.Spans(), err)
	}
	written[len(written)-1] |= 0x80 // 1<<63, which no message has
	if _, _, err := ledger.ReadRanges(written); !errors.Is(err, ledger.ErrSnapshot) {
		t.Errorf("a sequence beyond the highest: got %v, want ErrSnapshot", err)
	}
	cut := l.Cut()
	l.Cut() // nothing came: all is frozen
	if got := l.Check(vid, id(1, top-2)); got != ledger.Duplicate {
		t.Errorf("frozen: got verdict %d, want Duplicate", got)
	}
	folded, err := ledger.Fold(cut)
	if err != nil || !bytes.Equal(folded, l.Snapshot()) {
		t.Errorf("got %v, or another ledger", err)
	}
	if err := ledger.New(ledger.Bounds{}).Restore(folded); err != nil {
		t.Error(err)
	}
}
