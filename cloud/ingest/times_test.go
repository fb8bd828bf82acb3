package ingest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/reasons"
)

// strictTimes are for vehicles on the road whose clocks are all set by something.
var strictTimes = ingest.Times{Ahead: 5 * time.Minute, Late: 24 * time.Hour, UnsyncedAside: true}

// at makes a batch with a row at each time.
func (k *maker) at(seq uint64, times ...time.Time) []byte {
	k.tb.Helper()
	e := batches.NewEncoder(k.schema, k.hash.ID())
	for i, t := range times {
		e.Add(0, t.UnixMicro(), []int64{int64(i), 1})
	}
	out, err := e.Encode(batches.Header{Schema: k.hash.ID(), ID: k.id(seq)}, nil)
	if err != nil {
		k.tb.Fatal(err)
	}
	return out
}

// TestTimes: what lies beyond the bounds is set aside with its reason, and is neither in the
// lake nor seen by a consumer; without bounds it is stored.
func TestTimes(t *testing.T) {
	const day = 24 * time.Hour
	received := start.Truncate(time.Millisecond)
	tests := []struct {
		name    string
		class   string
		quality string
		times   []time.Duration // after the reception
		want    reasons.Reason
	}{
		{"now", "CS1", "", []time.Duration{0}, ""},
		{"ahead by five minutes", "CS1", "", []time.Duration{5 * time.Minute}, ""},
		{"ahead by more", "CS1", "", []time.Duration{5*time.Minute + time.Millisecond}, reasons.Time},
		{"one row ahead", "CS3", "", []time.Duration{-time.Second, 0, 23 * time.Hour, time.Second}, reasons.Time},
		{"centuries ahead", "CS1", "", []time.Duration{200 * 365 * day}, reasons.Time},
		{"bulk of 31 days ago", "CS1", "", []time.Duration{-31 * day}, ""},
		{"bulk of before", "CS1", "", []time.Duration{-31*day - time.Millisecond}, reasons.Time},
		{"no class is bulk", "", "", []time.Duration{-31 * day}, ""},
		{"hot of two days ago", "CS3", "", []time.Duration{-2 * day}, ""},
		{"hot of before", "CS3", "", []time.Duration{-2*day - time.Millisecond}, reasons.Time},
		{"crash of eight days ago", "CS6", "", []time.Duration{-8 * day}, ""},
		{"crash of before", "CS6", "", []time.Duration{-8*day - time.Millisecond, 0}, reasons.Time},
		{"1970", "CS1", "", []time.Duration{time.Unix(1, 0).Sub(received)}, reasons.Time},
		{"unsynced", "CS1", "unsynced", []time.Duration{0}, reasons.Unsynced},
		{"synced", "CS1", "gnss", []time.Duration{0}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, bounds := range []ingest.Times{strictTimes, {}} {
				b := newBench(t)
				told := &sink{}
				b.config = func(c *ingest.ProcessorConfig) {
					c.Consumers, c.Times = []ingest.Consumer{batchesTo("told", told.Apply)}, bounds
				}
				var times []time.Time
				for _, d := range tt.times {
					times = append(times, received.Add(d))
				}
				m := b.maker.message(b.maker.at(1, times...), b.maker.id(1).String())
				if tt.class != "" {
					m.Header[ingest.HeaderProperty+protocol.PropPriority] = tt.class
				}
				if tt.quality != "" {
					m.Header[ingest.HeaderProperty+protocol.PropTimeQuality] = tt.quality
				}
				b.up.Publish(m, func(uint64, error) {})
				p, stop := b.start()
				b.flush(p)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				want := tt.want
				if bounds == (ingest.Times{}) {
					want = ""
				}
				if want == "" {
					if got := stored(t, b.dir); len(got) != 1 || len(told.batches) != 1 || len(b.dead.all()) != 0 {
						t.Errorf("bounds %+v: got %v in the lake, %d at the sink, %d dead letters", bounds, got, len(told.batches), len(b.dead.all()))
					}
					continue
				}
				letters := b.dead.all()
				if len(letters) != 1 || letters[0].Header[ingest.HeaderReason] != string(want) || string(letters[0].Data) != string(m.Data) {
					t.Fatalf("got %d letters %v, want one for %s", len(letters), letters, want)
				}
				if got := p.Stats(); got.Aside != 1 || len(stored(t, b.dir)) != 0 || len(told.batches) != 0 {
					t.Errorf("got %d set aside, %d batches in the lake and %d at the sink, want 1, 0 and 0", got.Aside, len(stored(t, b.dir)), len(told.batches))
				}
				if a := p.Accounts("")[0]; len(a.Buried) != 1 {
					t.Errorf("the ledger says %+v, want it buried", a)
				}
			}
		})
	}
}

// TestUnsynced: a batch of a clock that nothing has set is stored and marked, or set aside where that is asked for.
func TestUnsynced(t *testing.T) {
	for _, aside := range []bool{false, true} {
		bounds := strictTimes
		bounds.UnsyncedAside = aside
		b := newBench(t)
		b.config = func(c *ingest.ProcessorConfig) { c.Times = bounds }
		b.up.Publish(b.maker.message(b.maker.payload(1, func(h *batches.Header) { h.TimeQuality = batches.TimeUnsynced }), ""), func(uint64, error) {})
		p, stop := b.start()
		b.flush(p)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		letters := b.dead.all()
		if got := len(stored(t, b.dir)); (got == 0) != aside || (len(letters) == 1) != aside {
			t.Errorf("aside %v: got %d batches in the lake and %d dead letters", aside, got, len(letters))
		}
		if aside && letters[0].Header[ingest.HeaderReason] != string(reasons.Unsynced) {
			t.Errorf("got the reason %s, want %s", letters[0].Header[ingest.HeaderReason], reasons.Unsynced)
		}
	}
}

// TestSetAsideIsReplayable: with the bounds opened a replay stores what was set aside.
func TestSetAsideIsReplayable(t *testing.T) {
	b := newBench(t)
	bounds := strictTimes
	b.config = func(c *ingest.ProcessorConfig) { c.Times = bounds }
	b.up.Publish(b.maker.message(b.maker.at(1, time.Unix(1000, 0)), b.maker.id(1).String()), func(uint64, error) {})
	p, stop := b.start()
	b.flush(p)
	replay := func() {
		t.Helper()
		r := ingest.Replayer{Dead: b.dead, Publisher: streams{"up": b.up}}
		if done, err := r.Replay(t.Context(), ingest.Filter{Reason: reasons.Time}); err != nil || done.Published != 1 {
			t.Fatalf("replay: got %+v, %v", done, err)
		}
	}
	replay()
	b.flush(p)
	if err := stop(); err != nil || len(stored(t, b.dir)) != 0 || len(b.dead.all()) != 1 {
		t.Fatalf("after a replay within the bounds: got %v, %d in the lake, %d letters; want it to stay one letter", err, len(stored(t, b.dir)), len(b.dead.all()))
	}
	bounds = ingest.Times{}
	p, stop = b.start()
	replay()
	b.flush(p)
	if err := stop(); err != nil || len(stored(t, b.dir)) != 1 {
		t.Fatalf("after the bounds were opened: got %v, %d in the lake, want 1", err, len(stored(t, b.dir)))
	}
}

// TestDatesOfCommit: without bounds too no commit has more than 64 dates.
func TestDatesOfCommit(t *testing.T) {
	b := newBench(t)
	const batches = 9
	for seq := uint64(1); seq <= batches; seq++ {
		var times []time.Time
		for day := range 30 {
			times = append(times, time.Unix(0, 0).Add(time.Duration(int(seq)*40+day)*24*time.Hour))
		}
		b.up.Publish(b.maker.message(b.maker.at(seq, times...), b.maker.id(seq).String()), func(uint64, error) {})
	}
	p, stop := b.start()
	b.flush(p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	parts := map[string]int{}
	folders, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !strings.HasPrefix(f.Name(), "date=") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(b.dir, f.Name(), "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			parts[filepath.Base(name)]++
		}
	}
	if len(parts) < batches/2 {
		t.Errorf("got %d commits for %d batches of 30 dates each, want one for two", len(parts), batches)
	}
	for name, dates := range parts {
		if dates > 64 {
			t.Errorf("%s is in %d dates, want at most 64", name, dates)
		}
	}
	if got := stored(t, b.dir); len(got) != batches {
		t.Errorf("got %d batches in the lake, want %d", len(got), batches)
	}
}
