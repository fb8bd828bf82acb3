package batches_test

import (
	"bytes"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
)

// TestCopy: a batch of copied rows is, byte by byte, the batch of the same rows added one by one, and counts the same.
func TestCopy(t *testing.T) {
	for _, mode := range []protocol.Mode{protocol.ModeAll, protocol.ModeOnChange, protocol.ModeGrid} {
		s, id := batchestest.Known(t, batchestest.SchemaOf(mode, 3, 70))
		all, want, got := batches.NewEncoder(s, id), batches.NewEncoder(s, id), batches.NewEncoder(s, id)
		const rows, from, to = 50, 7, 31
		for i := range rows {
			for g, width := range []int{3, 70} {
				raw, present := make([]int64, width), make([]uint64, (width+63)/64)
				for c := range raw {
					raw[c] = int64(i * c)
					if (i+c)%3 > 0 {
						present[c/64] |= 1 << (c % 64)
					}
				}
				into := []*batches.Encoder{all}
				if i >= from && i < to {
					into = append(into, want)
				}
				for _, e := range into {
					if at := int64(i)*1_234_567 - 5_000_000; mode == protocol.ModeAll {
						e.Add(g, at, raw)
					} else {
						e.AddChanged(g, at, raw, present)
					}
				}
			}
		}
		if all.Groups() != 2 || all.GroupRows(1) != rows || all.Time(1, 0) != -5_000_000 {
			t.Fatalf("got %d groups, %d rows from %d on", all.Groups(), all.GroupRows(1), all.Time(1, 0))
		}
		for g := range all.Groups() {
			got.Copy(all, g, from, from) // nothing
			got.Copy(all, g, from, 20)
			got.Copy(all, g, 20, to)
		}
		a, err := want.Encode(batchestest.Header, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := got.Encode(batchestest.Header, nil)
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: got another batch from copied rows, error %v", mode, err)
		}
		if got.Rows() != want.Rows() || got.Samples() != want.Samples() || got.First() > want.First() || got.Last() > want.Last() || got.Claim() != want.Claim() {
			t.Errorf("%s: got %d rows, %d samples, %+v; want %d, %d, %+v", mode, got.Rows(), got.Samples(), got.Claim(), want.Rows(), want.Samples(), want.Claim())
		}
	}
}
