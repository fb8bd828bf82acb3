package batch_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/campaign"
	"telltale.dev/protocol"
)

// noise makes a block of rows of 64 random bits for each signal of every rule.
func noise(rules []*campaign.Rule, rows, width int, now int64) *campaign.Block {
	random := rand.New(rand.NewPCG(7, uint64(now)))
	b := &campaign.Block{Rules: rules, Now: now}
	for range rows * width {
		b.Raw = append(b.Raw, int64(random.Uint64()))
	}
	for k := range rules {
		for i := range rows {
			b.Rows = append(b.Rows, campaign.Row{Rule: int32(k), Time: now, Offset: int32(i * width), Count: int32(width), Bits: -1})
		}
	}
	return b
}

// TestManyLargeBatches: a real buffer takes the batches of as many rules as there may be
// at once, each as large as a campaign may want it.
func TestManyLargeBatches(t *testing.T) {
	const rules, width = 64, 3000
	b, err := buffer.Open(buffer.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s := sealerOn(b)
	var set []*campaign.Rule
	for i := range rules {
		set = append(set, ruleOf(fmt.Sprint(i), width, protocol.CS1, time.Hour))
	}
	add(t, s, noise(set, protocol.MaxBatch/8/width, width, start))
	ended, cancel := context.WithCancel(t.Context())
	cancel() // so that a refusal is told
	if err := s.Finish(ended); err != nil {
		t.Fatal(err)
	}
	if got := b.Stats().Waiting; got.Records != rules || got.Samples != s.Stats().Samples {
		t.Errorf("got %+v in the buffer, want %d records with %d samples", got, rules, s.Stats().Samples)
	}
}

// TestDiscardedAtSplit: a row that is larger than a message is left out when its batch is
// split, and counts as discarded, not as collected.
func TestDiscardedAtSplit(t *testing.T) {
	const width = 40_000
	rule := ruleOf("wide", width, protocol.CS1, time.Hour)
	st := &store{}
	s := sealerOn(st)
	b := noise([]*campaign.Rule{rule}, 1, width, start)
	b.Raw = append(b.Raw, make([]int64, width)...) // a row that fits
	b.Rows = append(b.Rows, campaign.Row{Time: start + second, Offset: width, Count: width, Bits: -1})
	add(t, s, b)
	if err := s.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Discarded != width || got.Samples != width || st.samples() != width || st.progress.Samples != width {
		t.Errorf("got %d discarded, %d collected, %d in the buffer, %d in its account; want %d each",
			got.Discarded, got.Samples, st.samples(), st.progress.Samples, width)
	}
	if len(st.sealed) != 1 || st.sealed[0].ID.Seq != 1 {
		t.Errorf("got %d batches, want one with sequence 1", len(st.sealed))
	}
}
