package batch_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/campaigns"
)

// noise makes a block of rows of 64 random bits for each signal of every rule, 100 ms apart.
func noise(captures []*collect.Capture, rows, width int, now int64) *collect.Block {
	random := rand.New(rand.NewPCG(7, uint64(now)))
	b := &collect.Block{Captures: captures, Now: now}
	for range rows * width {
		b.Raw = append(b.Raw, int64(random.Uint64()))
	}
	for k := range captures {
		for i := range rows {
			b.Rows = append(b.Rows, collect.Row{Capture: int32(k), Time: now + int64(i)*second/10, Offset: int32(i * width), Count: int32(width), Bits: -1})
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
	var set []*collect.Capture
	for i := range rules {
		set = append(set, captureOf(fmt.Sprint(i), width, protocol.CS1, time.Hour))
	}
	add(t, s, noise(set, campaigns.MaxBatch/8/width, width, start))
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
	rule := captureOf("wide", width, protocol.CS1, time.Hour)
	st := &store{}
	s := sealerOn(st)
	b := noise([]*collect.Capture{rule}, 1, width, start)
	b.Raw = append(b.Raw, make([]int64, width)...) // a row that fits
	b.Rows = append(b.Rows, collect.Row{Time: start + second, Offset: width, Count: width, Bits: -1})
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

// TestClaims: values that hardly change, in large numbers or faster than any bus, go into as
// many batches as keep to what the cloud takes from one; all of them arrive, sealed or as checkpoints.
func TestClaims(t *testing.T) {
	for name, c := range map[string]struct {
		rows, width int
		apart       int64 // µs between rows
	}{
		"constant, exact times": {200_000, 8, 10_000},
		"all at once":           {5000, 40, 0},
		"fast":                  {60_000, 16, 10},
		"wide":                  {900, 3000, 200_000},
	} {
		t.Run(name, func(t *testing.T) {
			rule := captureOf("all", c.width, protocol.CS1, time.Hour)
			rule.Bytes = 1 << 30
			st := &store{}
			s := sealerOn(st)
			fits := func(records []buffer.Record) {
				for _, r := range records {
					claim, err := batches.Measure(r.Payload)
					if err == nil {
						err = claim.Check(rule.Schema.Tick, len(r.Payload))
					}
					if err != nil {
						t.Fatalf("record of %d samples: %v", r.Samples, err)
					}
				}
			}
			for from := 0; from < c.rows; from += 256 {
				b := &collect.Block{Captures: []*collect.Capture{rule}, Raw: make([]int64, c.width)}
				for i := from; i < min(from+256, c.rows); i++ {
					b.Now = start + int64(i)*c.apart
					b.Rows = append(b.Rows, collect.Row{Time: b.Now, Count: int32(c.width), Bits: -1})
				}
				add(t, s, b)
				fits(slices.Collect(maps.Values(st.open)))
			}
			if err := s.Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			fits(st.sealed)
			if got, want := st.samples(), uint64(c.rows*c.width); got != want || len(st.sealed) < 2 {
				t.Errorf("got %d samples in %d batches, want %d in several", got, len(st.sealed), want)
			}
		})
	}
}
