package batch_test

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"telltale.dev/agent/batch"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// TestTimeQuality: each batch says the worst that the clock was while it was under way, in its
// checkpoints, in what it is sealed as, and in each piece that it is split into.
func TestTimeQuality(t *testing.T) {
	quality := batches.TimeUnsynced
	st := &store{}
	rules := []*collect.Capture{captureOf("bulk", 1, protocol.CS1, 5*time.Second)}
	s := batch.New(batch.Config{
		Vehicle: "car", Device: "tcu", Boot: protocol.BootID{1}, Store: st, CommitBulk: time.Second,
		TimeQuality: func() batches.TimeQuality { return quality }, Release: func(*collect.Block) {}, Log: slog.New(slog.DiscardHandler),
	})
	row := func(at int64, q batches.TimeQuality) {
		t.Helper()
		quality = q
		add(t, s, blockOf(rules, 1, start+at*second, 0))
	}
	said := func(payload []byte) batches.TimeQuality {
		t.Helper()
		h, err := batches.ParseHeader(payload)
		if err != nil {
			t.Fatal(err)
		}
		return h.TimeQuality
	}
	row(0, batches.TimeUnsynced)
	row(2, batches.TimeNTP) // a checkpoint
	if len(st.open) != 1 || said(st.open[1].Payload) != batches.TimeUnsynced {
		t.Errorf("checkpoint: got %d, want one of an unsynced clock", len(st.open))
	}
	row(5, batches.TimeNTP)      // ends the first
	row(6, batches.TimeNTP)      // all by a good clock
	row(11, batches.TimeNTP)     // ends the second
	row(12, batches.TimeNTP)     // begins well,
	row(13, batches.TimeRTC)     //
	row(17, batches.TimeNTP)     // though not all of it
	row(18, batches.TimeGNSS)    // and then the clock is set by years: two pieces
	row(3e7, batches.TimeNTP)    //
	row(3e7+1, batches.TimeGNSS) //
	quality = batches.TimeUnknown
	if err := s.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []batches.TimeQuality
	for _, r := range st.sealed {
		got = append(got, said(r.Payload))
	}
	want := []batches.TimeQuality{batches.TimeUnsynced, batches.TimeNTP, batches.TimeRTC, batches.TimeNTP, batches.TimeNTP, batches.TimeUnknown}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
