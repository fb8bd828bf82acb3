package batch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/agent/batch"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const second = int64(1_000_000)

// start is when the tests' rows begin, in µs.
const start = int64(1_700_000_000_000_000)

// captureOf makes a rule with one group of the given width.
func captureOf(id string, width int, class protocol.Priority, age time.Duration) *collect.Capture {
	s := &schemas.Schema{Version: 1, Campaign: "c", Rule: id, Tick: 1000, Mode: protocol.ModeAll, Groups: [][]uint32{nil}}
	for i := range width {
		s.Signals = append(s.Signals, signal.Signal{Name: "s", Message: "M", Bus: "can0", CAN: &signal.Bits{Start: i, Length: 1}, Scale: "1", Offset: "0"})
		s.Groups[0] = append(s.Groups[0], uint32(i))
	}
	_, hash, err := s.Encode()
	if err != nil {
		panic(err)
	}
	return &collect.Capture{Campaign: "c", Rule: id, Class: class, Age: age, Bytes: campaigns.MaxBatch, Schema: s, Hash: hash}
}

// store keeps what is committed, in memory.
type store struct {
	sealed   []buffer.Record
	open     map[uint64]buffer.Record // by sequence
	progress buffer.Progress
	commits  int
	pending  []protocol.SeqRange
	fail     error
}

func (s *store) Commit(sealed, open []buffer.Record, p buffer.Progress) error {
	if s.fail != nil {
		return s.fail
	}
	if s.open == nil {
		s.open = map[uint64]buffer.Record{}
	}
	keep := func(r buffer.Record) buffer.Record { r.Payload = bytes.Clone(r.Payload); return r }
	for _, r := range open {
		s.open[r.ID.Seq] = keep(r)
	}
	for _, r := range sealed {
		delete(s.open, r.ID.Seq)
		s.sealed = append(s.sealed, keep(r))
		s.pending = slices.DeleteFunc(s.pending, func(e protocol.SeqRange) bool { return slices.Contains(r.Evicted, e) })
	}
	s.commits++
	s.progress = p
	return nil
}

func (s *store) PendingEvicted() []protocol.SeqRange { return slices.Clone(s.pending) }

// samples is what the store holds.
func (s *store) samples() (n uint64) {
	for _, r := range s.sealed {
		n += uint64(r.Samples)
	}
	for _, r := range s.open {
		n += uint64(r.Samples)
	}
	return n
}

func sealerOn(s batch.Store) *batch.Sealer {
	return batch.New(batch.Config{Vehicle: "car", Device: "tcu", Boot: protocol.BootID{1}, Store: s, Release: func(*collect.Block) {}, Log: slog.New(slog.DiscardHandler)})
}

// blockOf makes a block with one row of each of the given captures at time t, as of now.
func blockOf(captures []*collect.Capture, received uint64, now int64, which ...int) *collect.Block {
	b := &collect.Block{Captures: captures, Now: now, Account: collect.Account{Received: received, Decoded: received, Seen: []uint64{received}}}
	for _, k := range which {
		width := len(captures[k].Schema.Signals)
		b.Rows = append(b.Rows, collect.Row{Capture: int32(k), Time: now, Offset: int32(len(b.Raw)), Count: int32(width), Bits: -1})
		for i := range width {
			b.Raw = append(b.Raw, now/1000+int64(i))
		}
	}
	return b
}

func add(t *testing.T, s *batch.Sealer, b *collect.Block) {
	t.Helper()
	if err := s.Add(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// TestCommitIntervals: at no time has a row waited longer than its interval
// (and one block), and an account that covers everything is not far behind.
func TestCommitIntervals(t *testing.T) {
	captures := []*collect.Capture{
		captureOf("bulk", 1, protocol.CS1, time.Minute), captureOf("late-bulk", 2, protocol.CS2, time.Minute),
		captureOf("urgent", 3, protocol.CS5, time.Hour), captureOf("odd", 4, protocol.CS0, 7*time.Second),
	}
	st := &store{}
	s := sealerOn(st)
	const step = second / 10
	given := make([][]int64, len(captures)) // times of the rows of each rule
	for i := range int64(3000) {
		now := start + i*step
		which := []int{0, 2}
		if i > 47 {
			which = append(which, 1)
		}
		if i%13 == 0 {
			which = append(which, 3)
		}
		for _, k := range which {
			given[k] = append(given[k], now)
		}
		add(t, s, blockOf(captures, uint64(i+1), now, which...))
		for k, r := range captures {
			have := 0
			for _, list := range [][]buffer.Record{st.sealed, slices.Collect(mapsValues(st.open))} {
				for _, rec := range list {
					if rec.Schema == r.Hash {
						have += int(rec.Samples) / (k + 1)
					}
				}
			}
			limit := batch.CommitBulk
			if r.Class.Urgent() {
				limit = batch.CommitUrgent
			}
			if have < len(given[k]) && now-given[k][have] > limit.Microseconds() {
				t.Fatalf("%s: a row waited %v for its commit", r.Rule, time.Duration(now-given[k][have])*time.Microsecond)
			}
		}
		if behind := uint64(i+1) - st.progress.Received; behind > 161 { // 15 s, and up to 1 s to the next commit
			t.Fatalf("after %d frames the account is %d behind", i+1, behind)
		}
		if st.commits > 0 && st.progress.Samples != st.samples() {
			t.Fatalf("account says %d samples, the store has %d", st.progress.Samples, st.samples())
		}
	}
	if st.commits > 400 { // 300 for the urgent rule
		t.Errorf("got %d commits in 300 s, want about one per second", st.commits)
	}
}

func mapsValues(m map[uint64]buffer.Record) func(func(buffer.Record) bool) {
	return func(yield func(buffer.Record) bool) {
		for _, r := range m {
			if !yield(r) {
				return
			}
		}
	}
}

// TestClosing: what closes a batch.
func TestClosing(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, s *batch.Sealer, captures []*collect.Capture)
		want []uint32 // samples of the sealed batches
	}{
		{"age", func(t *testing.T, s *batch.Sealer, captures []*collect.Capture) {
			for i := range int64(25) {
				add(t, s, blockOf(captures, 1, start+i*second, 0))
			}
		}, []uint32{11, 11}},
		{"age, though nobody wants the frames that come", func(t *testing.T, s *batch.Sealer, captures []*collect.Capture) {
			add(t, s, blockOf(captures, 1, start, 0))
			add(t, s, blockOf(captures, 2, start+10*second))
		}, []uint32{1}},
		{"clock set back", func(t *testing.T, s *batch.Sealer, captures []*collect.Capture) {
			add(t, s, blockOf(captures, 1, start, 0))
			add(t, s, blockOf(captures, 2, start-second/2, 0)) // another bus
			add(t, s, blockOf(captures, 3, start-3600*second, 0))
			add(t, s, blockOf(captures, 4, start-3600*second, 0))
		}, []uint32{3}},
		{"clock set forward by years", func(t *testing.T, s *batch.Sealer, captures []*collect.Capture) {
			add(t, s, blockOf(captures, 1, 0, 0))
			add(t, s, blockOf(captures, 2, start, 0))
			add(t, s, blockOf(captures, 3, start+second, 0))
		}, []uint32{1, 1}},
		{"clock set by years and back between two frames", func(t *testing.T, s *batch.Sealer, captures []*collect.Capture) {
			b := blockOf(captures, 7, start, 0)
			for i, at := range []int64{start + second, second, 2 * second, start + 3*second, 3 * second, 2 * start} {
				b.Rows = append(b.Rows, collect.Row{Time: at, Offset: int32(len(b.Raw)), Count: 1, Bits: -1})
				b.Raw = append(b.Raw, int64(i))
			}
			add(t, s, b)
		}, []uint32{3, 3, 1}},
		{"rule gone", func(t *testing.T, s *batch.Sealer, captures []*collect.Capture) {
			add(t, s, blockOf(captures, 1, start, 0))
			add(t, s, blockOf(nil, 2, start+second))
		}, []uint32{1}},
		{"rule replaced and back", func(t *testing.T, s *batch.Sealer, captures []*collect.Capture) {
			other := []*collect.Capture{captureOf("other", 2, protocol.CS1, 10*time.Second), captures[0]}
			add(t, s, blockOf(captures, 1, start, 0))
			add(t, s, blockOf(other, 2, start, 0, 1))
			add(t, s, blockOf(captures, 3, start, 0))
			add(t, s, blockOf(captures, 3, start+10*second, 0))
		}, []uint32{2, 4}},
		{"impossible times", func(t *testing.T, s *batch.Sealer, captures []*collect.Capture) {
			add(t, s, blockOf(captures, 1, math.MaxInt64, 0))
			add(t, s, blockOf(captures, 1, math.MinInt64, 0))
			add(t, s, blockOf(captures, 1, -1, 0))
			add(t, s, blockOf(captures, 1, time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), 0))
			add(t, s, blockOf(captures, 1, start, 0))
			add(t, s, blockOf(captures, 1, start+10*second, 0))
			if got := s.Stats().Refused; got != 4 {
				t.Errorf("got %d refused rows, want 4", got)
			}
		}, []uint32{2}},
		{"too many rows, which are more at one time than a batch may claim", func(t *testing.T, s *batch.Sealer, captures []*collect.Capture) {
			hour := []*collect.Capture{captureOf("hour", 1, protocol.CS1, time.Hour)}
			for range 1 << 18 / 256 {
				b := &collect.Block{Captures: hour, Now: start, Raw: []int64{1}}
				for range 256 {
					b.Rows = append(b.Rows, collect.Row{Time: start, Count: 1, Bits: -1})
				}
				add(t, s, b)
			}
		}, slices.Repeat([]uint32{1 << 14}, 16)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			st := &store{}
			test.run(t, sealerOn(st), []*collect.Capture{captureOf("all", 1, protocol.CS1, 10*time.Second)})
			var got []uint32
			for i, r := range st.sealed {
				got = append(got, r.Samples)
				if time.Duration(r.Last-r.First)*time.Microsecond > 24*time.Hour {
					t.Errorf("batch %d: got rows from %d to %d µs, want a day at most", i+1, r.First, r.Last)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got batches of %d samples, want %d", got, test.want)
			}
		})
	}
}

// TestDeclarations: what was lost is declared once, by sealed batches, also
// when checkpoints come in between and when there is much of it.
func TestDeclarations(t *testing.T) {
	captures := []*collect.Capture{captureOf("urgent", 1, protocol.CS5, 5*time.Second)}
	st := &store{}
	for i := range uint64(600) {
		st.pending = append(st.pending, protocol.SeqRange{Boot: protocol.BootID{9}, From: 2*i + 1, To: 2*i + 1})
	}
	s := sealerOn(st)
	for i := range int64(40) {
		b := blockOf(captures, uint64(i), start+i*second, 0)
		b.Account.Dropped = uint64(i / 3)
		add(t, s, b)
	}
	if err := s.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	var drops, evicted uint64
	for _, r := range st.sealed {
		h, err := batches.ParseHeader(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		drops += h.Drops
		evicted += uint64(len(h.Evicted))
		if len(h.Evicted) != len(r.Evicted) {
			t.Errorf("the payload declares %d ranges, the record %d", len(h.Evicted), len(r.Evicted))
		}
	}
	if drops != 13 || evicted != 600 || len(st.pending) != 0 {
		t.Errorf("got %d drops and %d ranges declared, want 13 and 600", drops, evicted)
	}
}

// TestSilentBuses: when nothing comes any more, what is there is committed in time and sealed.
func TestSilentBuses(t *testing.T) {
	captures := []*collect.Capture{captureOf("urgent", 1, protocol.CS5, time.Hour), captureOf("bulk", 2, protocol.CS1, time.Hour)}
	commits := make(chan [2]int, 10) // sealed, open
	st := notify{&store{}, commits}
	s := batch.New(batch.Config{Vehicle: "car", Device: "tcu", Store: st, Release: func(*collect.Block) {}, Log: slog.New(slog.DiscardHandler),
		CommitUrgent: 50 * time.Millisecond, CommitBulk: 200 * time.Millisecond})
	in := make(chan *collect.Block)
	ended := make(chan error)
	go func() { ended <- s.Run(t.Context(), in) }()
	in <- blockOf(captures, 1, start, 0, 1)
	for _, want := range [][2]int{{0, 1}, {2, 0}} {
		select {
		case got := <-commits:
			if got != want {
				t.Errorf("got a commit of %v sealed and open, want %v", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("no commit on silent buses")
		}
	}
	close(in)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(commits) > 0 {
		t.Error("a commit though nothing was new")
	}
}

type notify struct {
	*store
	commits chan [2]int
}

func (n notify) Commit(sealed, open []buffer.Record, p buffer.Progress) error {
	defer func() { n.commits <- [2]int{len(sealed), len(open)} }()
	return n.store.Commit(sealed, open, p)
}

// TestFullDiskAtShutdown: the stage ends with one clear error, and reads its input to the end.
func TestFullDiskAtShutdown(t *testing.T) {
	s := sealerOn(&store{fail: errors.New("no space left on device")})
	captures := []*collect.Capture{captureOf("all", 1, protocol.CS1, time.Second)}
	ctx, cancel := context.WithCancel(t.Context())
	in := make(chan *collect.Block)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, in) }()
	in <- blockOf(captures, 1, start, 0)
	in <- blockOf(captures, 2, start+2*second, 0) // from here on it waits for the disk
	go func() {
		time.Sleep(50 * time.Millisecond)
		cancel()
	}()
	for range 100 {
		in <- blockOf(captures, 3, start+3*second, 0)
	}
	close(in)
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("got %v, want the reason", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("hangs")
	}
	if st := s.Stats(); st.Samples != 0 || st.Failures == 0 {
		t.Errorf("got %d samples counted and %d failures, want none and some", st.Samples, st.Failures)
	}
}

// TestAccountWithoutSamples: frames that nobody wants are accounted for at the end.
func TestAccountWithoutSamples(t *testing.T) {
	st := &store{}
	s := sealerOn(st)
	add(t, s, blockOf(nil, 77, start))
	if err := s.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st.progress.Received != 77 || st.progress.NextSeq != 1 {
		t.Errorf("got %+v, want 77 frames and no batch", st.progress)
	}
}

// TestRuleReplaced: the commit that seals the batch of a rule that is gone covers the rows of the
// rule that took its place, too. Samples without the frames they came in would be on disk else.
func TestRuleReplaced(t *testing.T) {
	st := &store{}
	s := sealerOn(st)
	add(t, s, blockOf([]*collect.Capture{captureOf("all", 1, protocol.CS1, time.Minute)}, 1, start, 0))
	add(t, s, blockOf([]*collect.Capture{captureOf("all", 2, protocol.CS1, time.Minute)}, 2, start+1000, 0))
	if st.progress.Received != 2 || st.progress.Samples != 3 || len(st.sealed) != 1 || len(st.open) != 1 {
		t.Errorf("got %+v, %d sealed and %d open; want 2 frames with 3 samples, 1 and 1", st.progress, len(st.sealed), len(st.open))
	}
}

// TestPowerCut: without a word of farewell, a real buffer gives back what the account says.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	b, err := buffer.Open(buffer.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := rav4()
	sealer := sealerOn(b)
	powered := true
	p := newPipeline(t, r, func(block *collect.Block) {
		if powered { // else it would try for ever to write to the closed buffer
			add(t, sealer, block)
		}
	})
	c := campaigns.Everything()
	c.Spec.Encoding.Batch.Age = "25s"
	p.collect(c)
	n := 0
	for i := range r.all[:80_000] {
		n++
		p.feed(r.all[i].bus, []can.Frame{r.all[i].frame})
	}
	defer p.end()
	powered = false
	if err := b.Close(); err != nil { // it seals nothing
		t.Fatal(err)
	}
	if b, err = buffer.Open(buffer.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	samples := 0
	for _, rec := range records(t, b) {
		samples += len(p.decode(&rec))
	}
	boot := b.Boots()[0]
	want := 0
	raw := make([]int64, r.plan.MaxSignals())
	for i := range r.all[:boot.Received] {
		if _, n := r.plan.Decode(r.all[i].bus, &r.all[i].frame, raw); n > 0 {
			want += n
		}
	}
	if uint64(samples) != boot.Samples || samples != want {
		t.Errorf("got %d samples; the account says %d, the frames it covers hold %d", samples, boot.Samples, want)
	}
	if at := r.all[boot.Received].frame.Time; r.all[n-1].frame.Time-at > 10_100_000 {
		t.Errorf("the power cut costs %d µs, want at most 10 s", r.all[n-1].frame.Time-at)
	}
}

// TestPayloadIsOwned: a record's payload is not touched by later records of the same commit.
func TestPayloadIsOwned(t *testing.T) {
	var captures []*collect.Capture
	for i := range 20 {
		captures = append(captures, captureOf(string(rune('a'+i)), i+1, protocol.CS1, time.Second))
	}
	st := &store{}
	s := sealerOn(st)
	which := make([]int, len(captures))
	for i := range which {
		which[i] = i
	}
	add(t, s, blockOf(captures, 1, start, which...))
	add(t, s, blockOf(captures, 2, start+second))
	for i, r := range st.sealed {
		h, err := batches.ParseHeader(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if h.ID != r.ID || binary.BigEndian.Uint64(h.Schema[:]) != binary.BigEndian.Uint64(r.Schema[:]) {
			t.Errorf("record %d: its payload is another's", i)
		}
	}
	if len(st.sealed) != 20 {
		t.Errorf("got %d batches, want 20", len(st.sealed))
	}
}
