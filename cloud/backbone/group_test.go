package backbone_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"telltale.dev/cloud/backbone"
)

// burst publishes all while the stream's committer is held, so that they come in as few commits as can be, behind one message.
func burst(t testing.TB, b *backbone.Backbone, first backbone.Message, messages ...backbone.Message) []result {
	t.Helper()
	held, queued := make(chan struct{}), make(chan struct{})
	b.Publish(first, func(_ uint64, err error) {
		if err != nil {
			t.Error(err)
		}
		close(held)
		<-queued
	})
	<-held
	got := make([]result, len(messages))
	var all sync.WaitGroup
	all.Add(len(messages))
	for i, m := range messages {
		b.Publish(m, func(seq uint64, err error) {
			got[i] = result{seq, err}
			all.Done()
		})
	}
	close(queued)
	waitFor(t, &all)
	return got
}

func wantRecords(t *testing.T, b *backbone.Backbone, stream string, want uint64) {
	t.Helper()
	if got, err := backbone.Records(t.Context(), b, stream); err != nil || got != want {
		t.Errorf("got %d records, %v, want %d", got, err, want)
	}
}

// TestRecordsOfGroups: what waits is stored as one record for each 500 messages or 512 KiB, and one that comes alone alone.
func TestRecordsOfGroups(t *testing.T) {
	for name, test := range map[string]struct {
		n, size int
		records uint64
	}{
		"none":  {0, 0, 1},
		"one":   {1, 100, 2},
		"eight": {8, 1024, 2},
		"500":   {500, 512, 2},
		"1000":  {1000, 512, 3},
		"1001":  {1001, 512, 4},
		"large": {3, 400 << 10, 4},
		"half":  {4, 250 << 10, 3},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, backbone.Config{})
			messages := numbered(test.n)
			for i := range messages {
				messages[i].Data = bytes.Repeat([]byte{byte(i)}, test.size)
			}
			for i, got := range burst(t, b, message("up.s1.car.batch", "first"), messages...) {
				if got.err != nil || got.seq != uint64(i+2) {
					t.Fatalf("message %d: got %+v, want sequence %d", i, got, i+2)
				}
			}
			wantRecords(t, b, backbone.Up, test.records)
			for i, m := range readAll(t, b, backbone.Up, 2, test.n) {
				if m.Sequence != uint64(i+2) || !bytes.Equal(m.Data, messages[i].Data) {
					t.Fatalf("message %d: got sequence %d with %d bytes", i, m.Sequence, len(m.Data))
				}
			}
		})
	}
}

// TestInsideGroups asks for messages inside of records, before and after a restart.
func TestInsideGroups(t *testing.T) {
	dir := t.TempDir()
	b := open(t, backbone.Config{Dir: dir})
	const rounds, each = 7, 40
	for range rounds {
		burst(t, b, numbered(1)[0], numbered(each)...)
	}
	const all = rounds * (each + 1)
	check := func() {
		t.Helper()
		wantRecords(t, b, backbone.Up, 2*rounds)
		if info, err := b.Info(t.Context(), backbone.Up); err != nil || info.First != 1 || info.Last != all || info.Messages != all {
			t.Errorf("got %+v, %v, want 1 to %d", info, err, all)
		}
		for _, sequence := range []uint64{1, 2, 3, 40, 41, 42, 43, 100, 163, 164, 165, 166, all - 1, all} {
			backbone.ForgetRecords(b, backbone.Up)
			if got, err := b.Next(t.Context(), backbone.Up, sequence); err != nil || got != sequence {
				t.Errorf("next of %d: got %d, %v", sequence, got, err)
			}
			backbone.ForgetRecords(b, backbone.Up)
			if got, err := b.Read(t.Context(), backbone.Up, sequence, 1, 10*time.Second); err != nil || len(got) != 1 || got[0].Sequence != sequence {
				t.Errorf("read %d: got %+v, %v", sequence, got, err)
			}
		}
		if got, err := b.Next(t.Context(), backbone.Up, all+1); err != nil || got != 0 {
			t.Errorf("next behind the end: got %d, %v, want 0", got, err)
		}
	}
	check()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, backbone.Config{Dir: dir})
	check()
	if got := publish(t, b, numbered(1)...)[0]; got.err != nil || got.seq != all+1 {
		t.Errorf("after a restart: got %+v, want sequence %d", got, all+1)
	}
}

// TestTrimGroups: a record goes when none of its messages is needed, and what was deleted is counted in messages.
func TestTrimGroups(t *testing.T) {
	const limit = 4 << 20
	b := open(t, backbone.Config{Limits: map[string]backbone.Limits{backbone.Low: {MaxBytes: limit}}})
	for range 30 {
		burst(t, b, bulk(1)[0], bulk(10)...) // records of 1 and 10 messages, of 10 kB each
	}
	wantRecords(t, b, backbone.Low, 60)
	trim(t, b, 0, 0, 1)
	trim(t, b, 11, 1, 2)   // messages 2 to 11 are one record
	trim(t, b, 12, 10, 12) // 11 is not needed any more
	n, err := b.Trim(t.Context(), backbone.Low, 330)
	info, err2 := b.Info(t.Context(), backbone.Low)
	if err = errors.Join(err, err2); err != nil || info.First != 12+n || info.Bytes > limit/2 || info.Bytes < limit/2-220_000 {
		t.Errorf("got %d deleted and %+v, %v, want about half of the room taken", n, info, err)
	}
	if got := readAll(t, b, backbone.Low, 0, 1)[0]; got.Sequence != info.First {
		t.Errorf("got sequence %d first, want %d", got.Sequence, info.First)
	}
}

// TestGroupsUnderABound: a record is a small part of what a stream may have, so that Trim can make room.
func TestGroupsUnderABound(t *testing.T) {
	b := open(t, backbone.Config{Limits: map[string]backbone.Limits{backbone.Low: {MaxBytes: 1 << 20}}})
	burst(t, b, bulk(1)[0], bulk(12)...)
	wantRecords(t, b, backbone.Low, 1+4) // 32 KiB each
}

// TestEmptiedStream: a stream of which all is gone by its age, and which is opened anew, gives no sequence twice.
func TestEmptiedStream(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	cfg := backbone.Config{Dir: dir, Limits: map[string]backbone.Limits{backbone.Up: {MaxAge: time.Second}}}
	b := open(t, cfg)
	last := burst(t, b, numbered(1)[0], numbered(100)...)[99].seq
	until(t, "the stream is empty", func() bool {
		n, err := backbone.Records(t.Context(), b, backbone.Up)
		return err == nil && n == 0
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, cfg)
	info, err := b.Info(t.Context(), backbone.Up)
	if err != nil || info.Messages != 0 || info.Last < last || info.First != info.Last+1 {
		t.Errorf("got %+v, %v, want an empty stream that ends at %d or later", info, err, last)
	}
	for i, got := range publish(t, b, numbered(3)...) {
		if got.err != nil || got.seq != info.Last+uint64(i)+1 {
			t.Errorf("got %+v, want the sequences after %d", got, info.Last)
		}
	}
}

// TestTwoPublishersOfOneServer: two processes that store in the streams of one server never give a sequence twice.
func TestTwoPublishersOfOneServer(t *testing.T) {
	t.Parallel() // it mostly waits
	url := natsServer(t, func(*server.Options) {}).ClientURL()
	cfg := backbone.Config{URL: url, Log: slog.New(slog.DiscardHandler)}
	both := []*backbone.Backbone{open(t, cfg), open(t, cfg)}
	var mu sync.Mutex
	stored := map[uint64]string{}
	var all sync.WaitGroup
	for p := range 8 {
		all.Go(func() {
			for n := 0; n < 30; {
				text := fmt.Sprintf("%d %d", p, n)
				answer := make(chan result, 1)
				both[p%2].Publish(message("up.s1.car.batch", text), func(seq uint64, err error) { answer <- result{seq, err} })
				got := <-answer
				if errors.Is(got.err, backbone.ErrBusy) { // the other one was faster each time
					continue
				}
				if got.err != nil {
					t.Error(got.err)
					return
				}
				mu.Lock()
				if before, twice := stored[got.seq]; twice {
					t.Errorf("sequence %d: got %q and %q", got.seq, before, text)
				}
				stored[got.seq] = text
				mu.Unlock()
				n++
			}
		})
	}
	waitFor(t, &all)
	for i, m := range readAll(t, both[0], backbone.Up, 0, 240) {
		if m.Sequence != uint64(i+1) || stored[m.Sequence] != string(m.Data) {
			t.Fatalf("got sequence %d with %q, want %d with %q", m.Sequence, m.Data, i+1, stored[m.Sequence])
		}
	}
}

// FuzzGroup: what is no record gives an error, and what is one has all its bytes in its messages.
func FuzzGroup(f *testing.F) {
	f.Add(backbone.EncodeGroup(message("up.a.b", "text"), backbone.Message{Subject: "up.c", Header: map[string]string{"n": "1"}}), uint64(2), uint64(1))
	f.Add([]byte{1, 255, 255, 255, 255, 15}, uint64(1), uint64(1))
	f.Add([]byte{1, 1, 'a', 255, 255, 3}, uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, last, from uint64) {
		last %= backbone.MaxGroup
		got, err := backbone.DecodeGroup(data, last+1, 1)
		if err != nil {
			return
		}
		if uint64(len(got)) != last+1 {
			t.Fatalf("got %d messages, want %d", len(got), last+1)
		}
		again, err := backbone.DecodeGroup(backbone.EncodeGroup(got...), last+1, 1)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("got %v, %v, want %v", again, err, got)
		}
		part, err := backbone.DecodeGroup(data, last+1, from)
		if err != nil || len(part) > 0 && fmt.Sprint(part) != fmt.Sprint(got[len(got)-len(part):]) {
			t.Errorf("from %d: got %v, %v", from, part, err)
		}
	})
}

// TestCostOfGroups bounds what a message takes from the heap on its way into a record, and out of one.
func TestCostOfGroups(t *testing.T) {
	m := backbone.Message{Subject: "up.local.car.telemetry", Header: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}, Data: make([]byte, 1024)}
	group := make([]backbone.Message, 100)
	for i := range group {
		group[i] = m
	}
	data := backbone.EncodeGroup(group...)
	read := testing.AllocsPerRun(10, func() {
		if _, err := backbone.DecodeGroup(data, 100, 1); err != nil {
			t.Fatal(err)
		}
	})
	if read > 401 { // the list; and data, texts, and two for the map of each message
		t.Errorf("reading 100 messages: got %.0f allocations, want at most 401", read)
	}
	if passed := testing.AllocsPerRun(10, func() { _, _ = backbone.DecodeGroup(data, 100, 101) }); passed > 0 {
		t.Errorf("passing over 100 messages: got %.0f allocations, want none", passed)
	}
	b := open(t, backbone.Config{})
	write := testing.AllocsPerRun(3, func() { burst(t, b, m, group...) })
	if write > 10*float64(len(group)) { // the test takes two of them, the server a few for a record
		t.Errorf("storing 100 messages: got %.0f allocations, want at most 1000", write)
	}
	t.Logf("%.0f allocations for reading, %.0f for storing 100 messages", read, write)
}
