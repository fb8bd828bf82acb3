package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/reasons"
)

// sink is a consumer that remembers what it was told, and refuses while refuse says so.
type sink struct {
	mu      sync.Mutex // guards the rest
	batches []*ingest.Decoded
	others  []*ingest.Word
	refuse  int
}

func (s *sink) Apply(_ context.Context, b *ingest.Decoded) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return errors.New("not now")
	}
	s.batches = append(s.batches, b)
	return nil
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.batches) + len(s.others)
}

func (s *sink) Receive(_ context.Context, m *ingest.Word) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others = append(s.others, m)
	return nil
}

func TestProcessor(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBench(t)
	told := &sink{refuse: 1}
	b.config = func(c *ingest.ProcessorConfig) {
		c.Consumers = []ingest.Consumer{{Name: "told", Batch: told.Apply, Word: told.Receive}}
	}
	k := b.maker
	k.send(b.up, 1, 2, 2, 4, 1)
	b.up.Publish(k.message(k.payload(6, func(h *batches.Header) {
		h.Evicted, h.Drops = []protocol.SeqRange{{Boot: k.boot, From: 5, To: 5}}, 7
	}), ""), func(uint64, error) {})
	event := k.message([]byte("event"), k.id(7).String())
	event.Header[ingest.HeaderTopic] = "v1/car1/up/event/braking.severe"
	event.Header[ingest.HeaderProperty+"note"] = "a%20b"
	for range 2 {
		b.up.Publish(event, func(uint64, error) {})
	}
	p, stop := b.start()
	b.flush(p)
	wait(t, "the consumer to take what it refused", func() bool { return told.count() == 5 })
	checkAccounts(t, p.Accounts("car1"), []ledger.Account{{
		Vehicle: "car1", Device: "tcu1", Boot: k.boot, Highest: 7,
		Counts: ledger.Counts{Stored: 5, Batches: 4, Samples: 400, Duplicates: 3, Dropped: 7,
			Bytes: p.Accounts("car1")[0].Bytes},
		Received: spans(1, 2, 4, 4, 6, 7), Evicted: spans(5, 5), Gaps: spans(3, 3),
	}})
	if got := p.Checkpoint(); got != 8 {
		t.Errorf("checkpoint: got %d, want 8", got)
	}
	count := stored(t, b.dir)
	for _, seq := range []uint64{1, 2, 4, 6} {
		if got := count["car1/"+k.id(seq).String()]; got != 100 {
			t.Errorf("batch %d: got %d rows, want 100", seq, got)
		}
	}
	if len(count) != 4 {
		t.Errorf("got rows of %d batches, want 4", len(count))
	}
	var order []uint64
	for _, d := range told.batches {
		order = append(order, d.Header.ID.Seq)
		if d.Vehicle != "car1" || d.Device != "tcu1" || d.Campaign != "everything" || d.Stream != "UP" ||
			!d.Received.Equal(start) || d.Samples != 100 {
			t.Errorf("sink: got %+v", d)
		}
	}
	if fmt.Sprint(order) != "[1 2 4 6]" {
		t.Errorf("sink: got batches %v, want 1 2 4 6", order)
	}
	if len(told.others) != 1 || told.others[0].Topic.Name != "braking.severe" || told.others[0].Properties["note"] != "a b" ||
		string(told.others[0].Payload) != "event" || told.others[0].ID != k.id(7) {
		t.Errorf("other sink: got %+v, want the event once", told.others)
	}
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
}

// TestLedgerIsProjection: cut anywhere, the ledger after a restart is the one of an uninterrupted run.
func TestLedgerIsProjection(t *testing.T) {
	whole := newBench(t)
	whole.maker.send(whole.up, 1, 2, 2, 5, 9, 1, 3)
	whole.up.Publish(whole.maker.message([]byte("garbage"), whole.maker.id(8).String()), func(uint64, error) {})
	whole.maker.send(whole.up, 4, 8)
	p, _ := whole.start()
	whole.flush(p)
	want := p.Ledger().Snapshot()
	messages := whole.up.all()
	for cut := range messages {
		b := newBench(t)
		for _, m := range messages[:cut] {
			b.up.Publish(m, func(uint64, error) {})
		}
		p, stop := b.start()
		b.flush(p)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, m := range messages[cut:] {
			b.up.Publish(m, func(uint64, error) {})
		}
		p, stop = b.start()
		b.flush(p)
		if got := p.Ledger().Snapshot(); !bytes.Equal(got, want) {
			t.Errorf("cut after %d: the ledger differs", cut)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// poison gives payloads that no processor can decode, with the reason expected.
func poison(t *testing.T, k *maker) map[string]struct {
	m      ingest.Message
	reason reasons.Reason
} {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	good := k.payload(50)
	other := *k
	other.device = "tcu2"
	strange := *k
	strange.hash[0]++
	random := make([]byte, 5000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	type entry = struct {
		m      ingest.Message
		reason reasons.Reason
	}
	prop := k.id(50).String()
	with := func(payload []byte, reason reasons.Reason) entry { return entry{k.message(payload, prop), reason} }
	edit := func(reason reasons.Reason, f func(h map[string]string)) entry {
		m := k.message(good, prop)
		f(m.Header)
		return entry{m, reason}
	}
	return map[string]entry{
		"empty":          with(nil, reasons.Undecodable),
		"random":         with(random, reasons.Undecodable),
		"truncated":      with(good[:len(good)-3], reasons.Undecodable),
		"bomb of zeros":  with(enc.EncodeAll(make([]byte, 64<<20), nil), reasons.Undecodable),
		"nested":         with(bytes.Repeat([]byte{0x81}, 200_000), reasons.Undecodable),
		"huge lengths":   with([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, reasons.Undecodable),
		"unknown schema": with(strange.payload(50), reasons.UnknownSchema),
		"id differs":     with(k.payload(51), reasons.ValidationFailed),
		"device differs": entry{k.message(other.payload(50), ""), reasons.NotAuthorized},
		"property of another device": edit(reasons.NotAuthorized, func(h map[string]string) {
			h[ingest.HeaderProperty+protocol.PropMessageID] = other.id(50).String()
		}),
		"property malformed": edit(reasons.ValidationFailed, func(h map[string]string) {
			h[ingest.HeaderProperty+protocol.PropMessageID] = "x"
		}),
		"campaign differs": edit(reasons.ValidationFailed, func(h map[string]string) {
			h[ingest.HeaderTopic] = "v1/car1/up/telemetry/other"
		}),
		"no topic": edit(reasons.ValidationFailed, func(h map[string]string) { delete(h, ingest.HeaderTopic) }),
	}
}

func TestPoison(t *testing.T) {
	k := newMaker(t)
	for name, tt := range poison(t, k) {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.up.Publish(tt.m, func(uint64, error) {})
			b.maker.send(b.up, 1)
			p, stop := b.start()
			b.flush(p)
			if count := stored(t, b.dir); len(count) != 1 {
				t.Errorf("got rows of %d batches, want of the good one", len(count))
			}
			letters := b.dead.all()
			if len(letters) != 1 {
				t.Fatalf("got %d dead letters, want 1", len(letters))
			}
			l := letters[0]
			if got := l.Header[ingest.HeaderReason]; got != string(tt.reason) || l.Subject != "dead.UP."+got {
				t.Errorf("got reason %s (%s) at %s, want %s", got, l.Header[ingest.HeaderDetail], l.Subject, tt.reason)
			}
			if !bytes.Equal(l.Data, tt.m.Data) || l.Header[ingest.HeaderSubject] != tt.m.Subject || l.Header[ingest.HeaderOrigin] != "UP/1" {
				t.Errorf("the letter is not the message: %v", l.Header)
			}
			for name, value := range tt.m.Header {
				if l.Header[name] != value {
					t.Errorf("header %s: got %q, want %q", name, l.Header[name], value)
				}
			}
			for _, a := range p.Accounts("car1") {
				if a.Device != "tcu1" || in(a.Received, 50) {
					t.Errorf("a dead letter counts as stored: %+v", a)
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReplay(t *testing.T) {
	b := newBench(t)
	k := b.maker
	doc := b.schemas.docs[k.hash.ID()]
	delete(b.schemas.docs, k.hash.ID())
	k.send(b.up, 1, 2, 3)
	b.up.Publish(k.message([]byte("garbage"), k.id(4).String()), func(uint64, error) {})
	p, stop := b.start()
	b.flush(p)
	if a := p.Accounts("car1")[0]; a.Stored != 0 || fmt.Sprint(a.Buried) != "[{1 4}]" {
		t.Fatalf("before the schema came: got %+v, want 1 to 4 buried", a)
	}
	b.dead.Publish(b.dead.all()[0], func(uint64, error) {}) // written twice by a crash
	b.schemas.docs[k.hash.ID()] = doc
	r := ingest.Replayer{Dead: b.dead, Publisher: streams{"up": b.up}}
	got, err := r.Replay(t.Context(), ingest.Filter{Reason: reasons.UnknownSchema, Vehicle: "car1", Stream: "UP"})
	if want := (ingest.Replayed{Read: 5, Published: 3, Repeated: 1}); err != nil || got != want {
		t.Fatalf("got %+v %v, want %+v", got, err, want)
	}
	for range 2 { // everything, and again: what is stored is dropped, what is garbage stays where it is
		if _, err := r.Replay(t.Context(), ingest.Filter{}); err != nil {
			t.Fatal(err)
		}
	}
	b.flush(p)
	a := p.Accounts("car1")[0]
	if a.Stored != 3 || a.Duplicates != 0 || a.Replayed != 6 || fmt.Sprint(a.Buried) != "[{4 4}]" || len(a.Gaps) != 0 {
		t.Errorf("after the replays: got %+v, want 3 stored, 0 duplicates, 6 replayed, 4 buried", a)
	}
	if count := stored(t, b.dir); len(count) != 3 {
		t.Errorf("got rows of %d batches, want 3", len(count))
	}
	if got := len(b.dead.all()); got != 5 {
		t.Errorf("got %d dead letters, want the 5 of before", got)
	}
	for _, f := range []ingest.Filter{{Vehicle: "car2"}, {Device: "tcu2"}, {Stream: "LOW"}, {Reason: reasons.Internal}} {
		if got, err := r.Replay(t.Context(), f); err != nil || got.Published != 0 {
			t.Errorf("filter %+v: got %+v %v, want nothing published", f, got, err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestLakeNotWritable: the processor waits, says so once, and loses nothing.
func TestLakeNotWritable(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	b := newBench(t)
	var said lines
	b.config = func(c *ingest.ProcessorConfig) {
		c.FlushRows, c.Log = 100, slog.New(slog.NewTextHandler(&said, nil))
	}
	p, stop := b.start()
	full := filepath.Join(b.dir, ".tmp", "checkpoint-UP.link")
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Fatal(err)
	}
	b.maker.send(b.up, 1, 2, 3, 4)
	wait(t, "the processor to wait", func() bool { return p.Stats().Waiting })
	time.Sleep(250 * time.Millisecond) // a few more tries
	if got := p.Checkpoint(); got != 0 {
		t.Errorf("checkpoint while full: got %d, want 0", got)
	}
	if got := said.count("lake cannot be written"); got != 1 {
		t.Errorf("said %d times that the lake cannot be written, want once:\n%s", got, said.text())
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	b.flush(p)
	if count := stored(t, b.dir); len(count) != 4 {
		t.Errorf("got rows of %d batches, want 4", len(count))
	}
	if got := said.count("processing goes on"); got != 1 || p.Stats().Waiting {
		t.Errorf("said %d times that it goes on, want once", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestEndWhileFull: a processor that ends while the disk is full starts where it stood.
func TestEndWhileFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	b := newBench(t)
	b.config = func(c *ingest.ProcessorConfig) { c.FlushRows = 100 }
	p, stop := b.start()
	if err := os.Symlink("/dev/full", filepath.Join(b.dir, ".tmp", "checkpoint-UP.link")); err != nil {
		t.Fatal(err)
	}
	b.maker.send(b.up, 1, 2, 3)
	wait(t, "the processor to wait", func() bool { return p.Stats().Waiting })
	if err := stop(); err == nil {
		t.Error("got no error of the last commit")
	}
	p, _ = b.start()
	b.flush(p)
	if count := stored(t, b.dir); len(count) != 3 {
		t.Errorf("got rows of %d batches, want 3", len(count))
	}
}

func TestDeadLettersFull(t *testing.T) {
	b := newBench(t)
	b.dead.fail = func(ingest.Message) error { return ingest.ErrFull }
	b.up.Publish(b.maker.message([]byte("garbage"), b.maker.id(1).String()), func(uint64, error) {})
	b.maker.send(b.up, 2)
	p, _ := b.start()
	b.flush(p)
	if got := p.Stats(); got.DeadLost != 1 || got.Checkpoint != 2 {
		t.Errorf("got %+v, want one letter given up and the next batch stored", got)
	}
	if a := p.Accounts("car1")[0]; fmt.Sprint(a.Buried) != "[{1 1}]" {
		t.Errorf("ledger: got %+v, want 1 buried", a)
	}
}

func TestDeadLettersBusy(t *testing.T) {
	b := newBench(t)
	left := 3
	b.dead.fail = func(ingest.Message) error {
		if left--; left >= 0 {
			return ingest.ErrBusy
		}
		return nil
	}
	b.up.Publish(b.maker.message([]byte("garbage"), ""), func(uint64, error) {})
	p, _ := b.start()
	b.flush(p)
	if got := len(b.dead.all()); got != 1 || p.Stats().DeadLost != 0 {
		t.Errorf("got %d letters, want 1", got)
	}
}

func TestFlushByRowsAndAge(t *testing.T) {
	t.Run("rows", func(t *testing.T) {
		b := newBench(t)
		b.config = func(c *ingest.ProcessorConfig) { c.FlushRows = 250 }
		b.maker.send(b.up, 1, 2, 3, 4)
		p, _ := b.start()
		wait(t, "a commit by rows", func() bool { return p.Checkpoint() == 3 })
	})
	t.Run("age", func(t *testing.T) {
		b := newBench(t)
		b.config = func(c *ingest.ProcessorConfig) { c.FlushAge = 30 * time.Millisecond }
		p, _ := b.start()
		b.maker.send(b.up, 1)
		wait(t, "a commit by age", func() bool { return p.Checkpoint() == 1 })
	})
}

// TestTrimmed: messages that the stream deleted unread are counted, and the rest goes on.
func TestTrimmed(t *testing.T) {
	b := newBench(t)
	b.maker.send(b.up, 1, 2, 3, 4)
	b.up.messages = append(b.up.messages[:1], b.up.messages[2:]...)
	p, _ := b.start()
	wait(t, "the messages left", func() bool { return p.Stats().Batches == 3 })
	if got := p.Stats().Skipped; got != 1 {
		t.Errorf("skipped: got %d, want 1", got)
	}
}

func TestStreamReplaced(t *testing.T) {
	b := newBench(t)
	b.maker.send(b.up, 1, 2)
	p, stop := b.start()
	b.flush(p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.up = newMemory()
	b.maker.send(b.up, 1)
	_, stop = b.start()
	time.Sleep(20 * time.Millisecond)
	if err := stop(); !errors.Is(err, ingest.ErrStreamReplaced) {
		t.Errorf("got %v, want ErrStreamReplaced", err)
	}
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) count(s string) int { return strings.Count(l.text(), s) }

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}
