package buffer_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// Sequences of fillForPurge, by purpose.
var (
	forResearch = []uint64{1, 4, 5, 6, 8, 11, 13}
	forOthers   = []uint64{2, 3, 7, 9, 10, 12}
)

// fillForPurge puts records of two purposes into several segments of three classes, and an open batch of each.
func fillForPurge(t *testing.T, b *buffer.Buffer) {
	t.Helper()
	seq := uint64(0)
	next := func(class protocol.Priority, bytes int) buffer.Record {
		seq++
		r := record(class, seq, bytes)
		if slices.Contains(forResearch, seq) {
			r.Purpose = "research"
		}
		return r
	}
	for range 3 {
		list := []buffer.Record{next(protocol.CS1, 40_000), next(protocol.CS1, 30_000), next(protocol.CS4, 200), next(protocol.CS6, 10)}
		must(t, b.Append(list[:len(list)-1], progress(seq)))
		must(t, b.Append(list[len(list)-1:], progress(seq)))
	}
	open := next(protocol.CS1, 3000)
	must(t, b.Checkpoint(open, progress(seq)))
}

// wantPurged purges and checks how many records are said to have gone.
func wantPurged(t *testing.T, b *buffer.Buffer, purpose string, records uint64) {
	t.Helper()
	before := b.Stats()
	gone, err := b.Purge(purpose)
	must(t, err)
	st := b.Stats()
	if gone.Records != records || st.PurgedRecords-before.PurgedRecords != records || st.PurgedSamples-before.PurgedSamples != gone.Samples {
		t.Errorf("purge of %s: got %+v and %+v, want %d records", purpose, gone, st, records)
	}
}

// afterCrash gives the waiting and the declared sequences of the directory as a crash leaves it.
func afterCrash(t *testing.T, dir string) (waiting, declared []uint64, counts buffer.Counts) {
	t.Helper()
	b := open(t, buffer.Config{Dir: copyDir(t, dir), MaxBytes: 4 << 20, SegmentBytes: 64 << 10})
	defer b.Close() //nolint:errcheck // a copy
	for _, class := range b.Classes() {
		waiting = append(waiting, seqs(t, b, class)...)
	}
	for _, r := range b.PendingEvicted() {
		declared = append(declared, sequence(r.From, r.To)...)
	}
	slices.Sort(waiting)
	return waiting, declared, b.Stats().Counts
}

// TestPurge lets each file operation of a purge fail, before and after it was done, and looks at the directory
// as a crash would leave it: all of the purpose is there or nothing, and what is not there is declared. Then the
// purge is made again and succeeds.
func TestPurge(t *testing.T) {
	for n := 1; ; n++ {
		reached := false
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("operation %d done %v", n, done), func(t *testing.T) {
				reached = runPurge(t, n, done) || reached
			})
		}
		if !reached {
			if n < 4 {
				t.Errorf("a purge has %d operations, want at least 3", n-1)
			}
			return
		}
	}
}

func runPurge(t *testing.T, n int, done bool) (failed bool) {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	count, purging := 0, false
	everything := sequence(1, 13)
	check := func() (all bool) {
		waiting, declared, counts := afterCrash(t, c.Dir)
		switch {
		case slices.Equal(waiting, everything) && len(declared) == 0:
			return false
		case slices.Equal(waiting, forOthers) && slices.Equal(declared, forResearch):
		default:
			t.Fatalf("waiting %v, declared %v", waiting, declared)
		}
		if counts.PurgedRecords != 7 || counts.PurgedSamples != 70 || counts.EvictedRecords != 7 || counts.EvictedSamples != 70 {
			t.Fatalf("got %+v, want 7 records of 70 samples", counts)
		}
		return true
	}
	b, err := buffer.OpenFaulty(c, func(op string, after bool) error {
		if !purging {
			return nil
		}
		if !after {
			count++
		}
		check()
		if count == n && after == done && !failed {
			failed = true
			return errInjected
		}
		return nil
	})
	must(t, err)
	defer b.Close() //nolint:errcheck // the directory goes
	fillForPurge(t, b)
	purging = true
	if _, err := b.Purge("research"); err != nil {
		if !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
		check()
		wantPurged(t, b, "research", 7)
	}
	if purging = false; !check() {
		t.Error("after the purge all is there")
	}
	must(t, b.Append([]buffer.Record{record(protocol.CS1, 14, 10)}, progress(14)))
	if got := b.Stats(); got.PurgedRecords != 7 || got.Checkpoints != 0 || got.Waiting.Records != uint64(len(forOthers))+1 {
		t.Errorf("got %+v", got)
	}
	wantPurged(t, b, "nothing of this", 0)
	return failed
}

// TestPurgedAccount: the account of an earlier version, which knew no open batches, is read, and what is garbled is refused.
func TestPurgedAccount(t *testing.T) {
	open := append([]byte{7, 70, 1, byte(protocol.CS1), 9}, "generation"...)
	for name, body := range map[string][]byte{"earlier": {7, 70}, "without open batches": {7, 70, 0}, "an open batch": open} {
		records, samples, again, err := buffer.ParsePurged(body)
		if records != 7 || samples != 70 || err != nil || name != "earlier" && string(again) != string(body) {
			t.Errorf("%s: got %d, %d, %x, %v", name, records, samples, again, err)
		}
	}
	for name, body := range map[string][]byte{"cut": open[:8], "longer": append(slices.Clone(open), 0), "empty": nil} {
		if _, _, _, err := buffer.ParsePurged(body); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
}
