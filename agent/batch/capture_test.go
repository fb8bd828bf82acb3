package batch_test

import (
	"testing"
	"time"

	"telltale.dev/agent/batch"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// TestCapturesApart: batches of two captures are never mixed, though their rule and schema are the same; what a closed
// one has is sealed with the next commit, and the past that a capture begins with does not make it wait.
func TestCapturesApart(t *testing.T) {
	first := captureOf("burst", 1, protocol.CS5, time.Hour)
	other := *first
	other.Moment = start + 5*second
	st := &store{}
	s := sealerOn(st)
	both := []*collect.Capture{first, &other}
	add(t, s, blockOf(both[:1], 1, start, 0))
	b := blockOf(both, 2, start+10*second, 0)
	for _, at := range []int64{0, 1, 2, 10} { // the past of the second, and its moment
		b.Rows = append(b.Rows, collect.Row{Capture: 1, Time: start + at*second, Count: 1, Bits: -1})
	}
	add(t, s, b)
	if len(st.sealed) != 0 || len(st.open) != 2 || st.samples() != 6 {
		t.Errorf("got %d sealed, %d open with %d samples; want 0, 2, 6", len(st.sealed), len(st.open), st.samples())
	}
	add(t, s, blockOf(both[1:], 3, start+11*second, 0)) // the first is closed
	if len(st.sealed) != 1 || st.sealed[0].Samples != 2 {
		t.Fatalf("got %d sealed batches, want that of the first capture", len(st.sealed))
	}
	if err := s.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(st.sealed) != 2 || st.sealed[1].Samples != 5 || st.sealed[0].Schema != st.sealed[1].Schema {
		t.Errorf("got %d batches", len(st.sealed))
	}
}

// TestNumbersFollowRows: when a rule gets another capture, the rows of the one before have the lower number, whether the other
// one's batch lasts or is closed in the same commit, for a lake orders the rows of one time by it.
func TestNumbersFollowRows(t *testing.T) {
	for what, end := range map[string]func(s *batch.Sealer) error{
		"lasts":  func(*batch.Sealer) error { return nil },
		"closed": func(s *batch.Sealer) error { return s.Finish(t.Context()) },
	} {
		before := captureOf("rule", 1, protocol.CS1, time.Hour)
		after := captureOf("rule", 2, protocol.CS1, time.Hour)
		if what == "closed" {
			after.Age = 0 // full at once
		}
		st := &store{}
		s := sealerOn(st)
		add(t, s, blockOf([]*collect.Capture{before}, 1, start, 0))
		add(t, s, blockOf([]*collect.Capture{after}, 2, start, 0))
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		numbers := map[protocol.SchemaHash]uint64{}
		for _, r := range st.sealed {
			numbers[r.Schema] = r.ID.Seq
		}
		for _, r := range st.open {
			numbers[r.Schema] = r.ID.Seq
		}
		if numbers[before.Hash] != 1 || numbers[after.Hash] != 2 {
			t.Errorf("%s: got number %d before and %d after, want 1 and 2", what, numbers[before.Hash], numbers[after.Hash])
		}
	}
}

// TestSplitKeepsRows: pieces of a batch hold its rows, each once, in every mode, absent values too.
func TestSplitKeepsRows(t *testing.T) {
	const width, rows = 70, 40
	for _, mode := range []protocol.Mode{protocol.ModeAll, protocol.ModeOnChange, protocol.ModeGrid} {
		c := captureOf("wide", width, protocol.CS1, time.Hour)
		c.Schema.Mode = mode
		_, hash, err := c.Schema.Encode()
		if err != nil {
			t.Fatal(err)
		}
		c.Hash = hash
		st := &store{}
		s := sealerOn(st)
		b := &collect.Block{Captures: []*collect.Capture{c}, Now: start}
		type cell struct {
			time, raw int64
			signal    int
		}
		want := map[cell]int{}
		for i := range int64(rows) {
			at := start + i*1000
			if i%3 == 1 {
				at -= 48 * 3600 * second // the clock was set and set again
			}
			row := collect.Row{Time: at, Offset: int32(len(b.Raw)), Count: width, Bits: -1}
			if mode != protocol.ModeAll {
				row.Bits = int32(len(b.Present))
				b.Present = append(b.Present, 0xF0F0<<(i%8), uint64(i)&63)
			}
			for k := range width {
				b.Raw = append(b.Raw, i*1000+int64(k))
				if row.Bits < 0 || b.Present[int(row.Bits)+k/64]>>(k%64)&1 == 1 {
					want[cell{at, i*1000 + int64(k), k}]++
				}
			}
			b.Rows = append(b.Rows, row)
		}
		add(t, s, b)
		if err := s.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, samples := 0, 0
		for _, r := range st.sealed {
			batch, err := batches.Decode(r.Payload, c.Schema)
			if err != nil {
				t.Fatal(err)
			}
			samples += int(r.Samples)
			for i := range batch.Rows {
				g := &batch.Rows[i]
				for row, at := range g.Time {
					if at < r.First || at > r.Last {
						t.Errorf("a row at %d, the record says %d to %d", at, r.First, r.Last)
					}
					for k := range g.Columns {
						if g.Has(k, row) {
							want[cell{at, g.Columns[k][row], k}]--
							got++
						}
					}
				}
			}
		}
		for c, n := range want {
			if n != 0 {
				t.Fatalf("%s: signal %d at %d: %d missing", mode, c.signal, c.time, n)
			}
		}
		if len(st.sealed) != 2 || got != samples || got != len(want) {
			t.Errorf("%s: got %d pieces with %d values, records say %d, want %d", mode, len(st.sealed), got, samples, len(want))
		}
	}
}
