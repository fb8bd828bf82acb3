package batch_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"telltale.dev/agent/batch"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
)

// onDisk makes a sealer on a real buffer. A refusal that would be tried again ends the test after a while.
func onDisk(t *testing.T) (*buffer.Buffer, *batch.Sealer, context.Context) {
	t.Helper()
	b, err := buffer.Open(buffer.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return b, sealerOn(b), ctx
}

// TestNeverStored: a batch that the buffer will never take, as a checkpoint or at its end, keeps the others neither from the disk
// nor from the next commit; it is counted, and leaves no gap in the sequence.
func TestNeverStored(t *testing.T) {
	b, s, ctx := onDisk(t)
	good, bad := captureOf("good", 1, protocol.CS1, time.Hour), captureOf("bad", 1, protocol.CS1, time.Hour)
	bad.Purpose = strings.Repeat("x", 1000)
	set := []*collect.Capture{bad, good}
	for n := range int64(20) {
		if err := s.Add(ctx, blockOf(set, uint64(n+1), start+n*second, 0, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if st := b.Stats(); st.Checkpoints != 1 || s.Stats().Discarded == 0 {
		t.Errorf("got %+v, want a checkpoint of the good batch alone", st)
	}
	if err := s.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Discarded != 20 || got.Samples != 20 || got.Batches != 1 {
		t.Errorf("got %+v, want 20 samples stored and 20 discarded", got)
	}
	if got := b.Stats().Waiting; got.Records != 1 || got.Samples != 20 {
		t.Errorf("got %+v in the buffer, want one batch of 20 samples", got)
	}
	if got := b.Boots()[0]; got.NextSeq != 2 || got.Samples != 20 {
		t.Errorf("got %+v, want sequence 2 next", got)
	}
}

// TestClockJumpsWithEachRow: rows of as many days as there are rows, in one block, need not be one commit.
func TestClockJumpsWithEachRow(t *testing.T) {
	b, s, ctx := onDisk(t)
	const rows, day = 3 * buffer.MaxRecords, 24 * 3600 * second
	rule := captureOf("r", 1, protocol.CS1, time.Hour)
	block := &collect.Block{Captures: []*collect.Capture{rule}, Now: start}
	for n := range int64(rows) {
		at := (n * 7919) % rows * 2 * day
		block.Raw = append(block.Raw, n)
		block.Rows = append(block.Rows, collect.Row{Time: at, Offset: int32(n), Count: 1, Bits: -1})
	}
	if err := s.Add(ctx, block); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	st := b.Stats()
	if got := s.Stats(); got.Samples != rows || got.Discarded > 0 || got.Failures > 0 || st.Waiting.Samples != rows {
		t.Errorf("got %+v and %+v in the buffer, want %d samples", got, st.Waiting, rows)
	}
	if st.Commits > 4*rows/buffer.MaxRecords+2 {
		t.Errorf("%d commits for %d rows", st.Commits, rows)
	}
}

// greedyStore takes commits of a certain size only.
type greedyStore struct {
	store
	most int // records
}

func (g *greedyStore) Commit(sealed, open []buffer.Record, p buffer.Progress) error {
	if len(sealed)+len(open) > g.most {
		return buffer.ErrRecord
	}
	return g.store.Commit(sealed, open, p)
}

// TestMoreThanACommit: when a commit as a whole is more than the buffer ever takes, the largest batches go until it is not.
func TestMoreThanACommit(t *testing.T) {
	g := &greedyStore{most: 2}
	s := sealerOn(g)
	set := []*collect.Capture{captureOf("a", 1, protocol.CS1, time.Hour), captureOf("b", 50, protocol.CS1, time.Hour), captureOf("c", 1, protocol.CS1, time.Hour)}
	for _, c := range set {
		c.Bytes = campaigns.MaxBatch
	}
	add(t, s, blockOf(set, 1, start, 0, 1, 2))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Discarded != 50 || got.Samples != 2 || len(g.sealed) != 2 || g.sealed[0].ID.Seq+g.sealed[1].ID.Seq != 3 {
		t.Errorf("got %+v and %d batches, want the two small ones", got, len(g.sealed))
	}
}

// TestDiscardedKeepsItsCheckpoint: of a batch that cannot be stored any more, what its checkpoint holds becomes its record, at once and under
// its number; only the rest is discarded, and no later batch has that number.
func TestDiscardedKeepsItsCheckpoint(t *testing.T) {
	b, s, ctx := onDisk(t)
	rule := captureOf("turns bad", 1, protocol.CS1, time.Hour)
	purpose, n := rule.Purpose, int64(0)
	collectUntil := func(end int64) {
		t.Helper()
		for ; n < end; n++ {
			if err := s.Add(ctx, blockOf([]*collect.Capture{rule}, uint64(n+1), start+n*second, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	collectUntil(15)
	kept := s.Stats().Samples
	if got := b.Stats(); got.Checkpoints != 1 || kept == 0 {
		t.Fatalf("got %+v and %d samples, want a checkpoint", got, kept)
	}
	rule.Purpose = strings.Repeat("x", 1000)
	collectUntil(25)
	rule.Purpose = purpose
	discarded := s.Stats().Discarded
	if got := b.Stats(); got.Checkpoints != 0 || got.Waiting.Samples != kept || discarded == 0 {
		t.Errorf("got %+v and %d discarded, want a record of %d samples and no checkpoint", got, discarded, kept)
	}
	collectUntil(30)
	if err := s.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	list, err := b.Read(buffer.Position{}, protocol.CS1, 10, 0)
	if err != nil || len(list) != 2 || list[0].Record.ID.Seq != 1 || list[1].Record.ID.Seq != 2 {
		t.Fatalf("got %+v, %v, want records 1 and 2", list, err)
	}
	st, account := s.Stats(), b.Boots()[0]
	stored := uint64(list[0].Record.Samples + list[1].Record.Samples)
	if st.Discarded+stored != 30 || account.Samples != stored || st.Batches != 2 || account.Bytes != b.Stats().Waiting.Bytes || account.NextSeq != 3 {
		t.Errorf("got %+v and account %+v, want %d samples stored and the rest discarded", st, account, stored)
	}
}
