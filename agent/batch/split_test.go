package batch_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// TestSplit: a batch that becomes too large for a message is sealed as several, without a gap.
func TestSplit(t *testing.T) {
	const width = 700
	rule := captureOf("noise", width, protocol.CS1, 20*time.Second)
	captures := []*collect.Capture{rule}
	st := &store{}
	s := sealerOn(st)
	random := rand.New(rand.NewPCG(5, 6))
	want := map[int64][]int64{}
	row := func(now int64, value func(i int) int64) {
		b := &collect.Block{Captures: captures, Now: now, Rows: []collect.Row{{Time: now, Count: width, Bits: -1}}}
		for i := range width {
			b.Raw = append(b.Raw, value(i))
		}
		want[now] = b.Raw
		add(t, s, b)
	}
	now := start
	for i := range int64(3000) { // a batch whose many changed bits cost little
		row(now, func(int) int64 { return -(i & 1) })
		now += second / 100
	}
	for range 400 { // and then noise
		row(now, func(int) int64 { return int64(random.Uint64()) })
		now += second / 20
	}
	if err := s.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	large := 0
	for i, r := range st.sealed {
		if r.ID.Seq != uint64(i+1) {
			t.Errorf("batch %d has sequence %d", i+1, r.ID.Seq)
		}
		if len(r.Payload) > protocol.MaxPacket-4<<10 {
			t.Errorf("batch %d has %d bytes", i+1, len(r.Payload))
		}
		if len(r.Payload) > protocol.MaxPacket/4 {
			large++
		}
		b, err := batches.Decode(r.Payload, rule.Schema)
		if err != nil {
			t.Fatal(err)
		}
		for k, at := range b.Rows[0].Time {
			if at < r.First || at > r.Last {
				t.Errorf("batch %d: a row at %d, the record says %d to %d", i+1, at, r.First, r.Last)
			}
			for c, column := range b.Rows[0].Columns {
				if len(want[at]) == 0 || want[at][c] != column[k] {
					t.Fatalf("batch %d: another value at %d", i+1, at)
				}
			}
			delete(want, at)
		}
	}
	if len(want) != 0 || large < 5 {
		t.Errorf("%d rows are missing; %d large batches, want some", len(want), large)
	}
	if st.progress.NextSeq != uint64(len(st.sealed))+1 || st.progress.Samples != st.samples() || s.Stats().Discarded != 0 {
		t.Errorf("account %+v after %d batches with %d samples", st.progress, len(st.sealed), st.samples())
	}
}

// TestSplitOfChanges: the same of a rule that keeps changes, whose rows may have all their signals or some.
func TestSplitOfChanges(t *testing.T) {
	rule := captureOf("changes", 2, protocol.CS1, time.Hour)
	rule.Schema.Mode = protocol.ModeOnChange
	_, hash, err := rule.Schema.Encode()
	if err != nil {
		t.Fatal(err)
	}
	rule.Hash = hash
	for _, bits := range []uint64{3, 1} { // of the row behind the jump of the clock
		st := &store{}
		s := sealerOn(st)
		add(t, s, &collect.Block{
			Captures: []*collect.Capture{rule}, Now: start, Raw: []int64{1, 0, 0, 1}, Present: []uint64{3, bits},
			Rows: []collect.Row{{Time: second, Count: 2, Bits: 0}, {Time: start, Offset: 2, Count: 2, Bits: 1}},
		})
		want := uint64(3 + bits/2)
		if len(st.sealed) != 2 || st.samples() != want || s.Stats().Discarded != 0 {
			t.Errorf("got %d batches with %d samples, %d discarded; want 2 with %d", len(st.sealed), st.samples(), s.Stats().Discarded, want)
		}
	}
}
