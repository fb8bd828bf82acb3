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
