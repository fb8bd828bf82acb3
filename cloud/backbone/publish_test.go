package backbone_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

func TestPublishRefusesMalformed(t *testing.T) {
	b := open(t, backbone.Config{})
	header := func(name, value string) backbone.Message {
		return backbone.Message{Subject: "up.s1.car.batch", Header: map[string]string{name: value}}
	}
	for name, test := range map[string]struct {
		m    backbone.Message
		want error
	}{
		"no subject":       {backbone.Message{}, backbone.ErrInvalid},
		"stream alone":     {backbone.Message{Subject: "up"}, backbone.ErrInvalid},
		"no such stream":   {backbone.Message{Subject: "sideways.s1.car.batch"}, backbone.ErrInvalid},
		"system subject":   {backbone.Message{Subject: "$JS.API.STREAM.DELETE.UP"}, backbone.ErrInvalid},
		"wildcard":         {backbone.Message{Subject: "up.>"}, backbone.ErrInvalid},
		"star":             {backbone.Message{Subject: "up.*.car"}, backbone.ErrInvalid},
		"empty part":       {backbone.Message{Subject: "up..car"}, backbone.ErrInvalid},
		"dot at the end":   {backbone.Message{Subject: "up.car."}, backbone.ErrInvalid},
		"line break":       {backbone.Message{Subject: "up.car\r\nPUB x 0"}, backbone.ErrInvalid},
		"long subject":     {backbone.Message{Subject: "up." + strings.Repeat("x", 600)}, backbone.ErrInvalid},
		"too much data":    {backbone.Message{Subject: "up.car", Data: make([]byte, backbone.MaxData+1)}, backbone.ErrTooLarge},
		"reserved header":  {header("nats-Expected-Stream", "LOW"), backbone.ErrInvalid},
		"status header":    {header("Status", "503"), backbone.ErrInvalid},
		"empty name":       {header("", "x"), backbone.ErrInvalid},
		"colon in name":    {header("a:b", "x"), backbone.ErrInvalid},
		"break in value":   {header("a", "x\r\nNats-Rollup: all"), backbone.ErrInvalid},
		"space at the end": {header("a", "x "), backbone.ErrInvalid},
		"long header":      {header("a", strings.Repeat("x", backbone.MaxHeader)), backbone.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if got := publish(t, b, test.m)[0]; !errors.Is(got.err, test.want) || got.seq != 0 {
				t.Errorf("got %+v, want %v", got, test.want)
			}
		})
	}
	largest := backbone.Message{Subject: "dead.UP.decode", Data: make([]byte, backbone.MaxData), Header: map[string]string{"a": strings.Repeat("x", backbone.MaxHeader-1)}}
	if got := publish(t, b, largest)[0]; got.err != nil || got.seq != 1 {
		t.Errorf("largest message: got %+v, want sequence 1", got)
	}
	if s := b.Stats(); s.Invalid != 18 || s.Stored != 1 {
		t.Errorf("stats: got %d invalid, %d stored, want 18 and 1", s.Invalid, s.Stored)
	}
}

// TestOrderOfEachPublisher wants the messages of each goroutine in its order, with several streams at once.
func TestOrderOfEachPublisher(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Config{})
	const publishers, each = 20, 150
	var all sync.WaitGroup
	all.Add(publishers * each)
	for p := range publishers {
		go func() {
			for n := range each {
				subject := fmt.Sprintf("%s.s1.car%d.batch", []string{"up", "low"}[p%2], p)
				b.Publish(backbone.Message{Subject: subject, Data: []byte{byte(n)}}, func(_ uint64, err error) {
					if err != nil {
						t.Errorf("publish: %v", err)
					}
					all.Done()
				})
			}
		}()
	}
	waitFor(t, &all)
	for _, stream := range []string{backbone.Up, backbone.Low} {
		next := map[string]byte{}
		for _, m := range readAll(t, b, stream, 0, publishers*each/2) {
			if m.Data[0] != next[m.Subject] {
				t.Fatalf("%s: got number %d, want %d", m.Subject, m.Data[0], next[m.Subject])
			}
			next[m.Subject]++
		}
	}
}

// TestOneRefusedMessageFailsAlone fills a stream so far that within one batch the large messages do
// not fit any more, but the small ones do: in a stream whose messages stand alone, and in one of groups.
func TestOneRefusedMessageFailsAlone(t *testing.T) {
	t.Parallel() // it mostly waits
	const limit = 900_000
	for _, test := range []struct {
		stream, subject string
		before, large   int // bytes of a message in front, and of each large one
	}{
		{backbone.Dead, "dead.s1.car.batch", 0, 600_000},
		{backbone.Up, "up.s1.car.batch", 862_000, 20_000},
	} {
		t.Run(test.stream, func(t *testing.T) {
			b := open(t, backbone.Config{Limits: map[string]backbone.Limits{test.stream: {MaxBytes: limit}}})
			before := publish(t, b, backbone.Message{Subject: test.subject, Data: make([]byte, test.before)})[0].seq
			messages := numbered(300)
			large := map[int]bool{50: true, 100: true, 299: true}
			for i := range messages {
				if messages[i].Subject = test.subject; large[i] {
					messages[i].Data = bytes.Repeat([]byte{byte(i)}, test.large)
				}
			}
			for i, got := range publish(t, b, messages...) {
				switch {
				case large[i] && i != 50:
					if !errors.Is(got.err, backbone.ErrFull) {
						t.Errorf("large message %d: got %+v, want %v", i, got, backbone.ErrFull)
					}
				case got.err != nil || got.seq != before+1:
					t.Fatalf("message %d: got %+v, want sequence %d", i, got, before+1)
				default:
					before = got.seq
				}
			}
			if s := b.Stats(); s.Fallbacks == 0 || s.Full != 2 || s.Stored != 299 {
				t.Errorf("stats: got %+v, want a fallback, 2 full, 299 stored", s)
			}
		})
	}
}

func TestFullStreamKeepsTheOldMessages(t *testing.T) {
	b := open(t, backbone.Config{Limits: map[string]backbone.Limits{backbone.Low: {MaxBytes: 100_000}}})
	stored, full := 0, 0
	for i := range 20 {
		got := publish(t, b, backbone.Message{Subject: "low.p1.car.batch", Data: make([]byte, 10_000)})[0]
		switch {
		case got.err == nil && full == 0:
			stored++
		case errors.Is(got.err, backbone.ErrFull):
			full++
		default:
			t.Fatalf("message %d: got %+v", i, got)
		}
	}
	info, err := b.Info(t.Context(), backbone.Low)
	if err != nil || info.First != 1 || info.Messages != uint64(stored) || stored != 9 {
		t.Errorf("got %+v, %v with %d acknowledged, want the first 9", info, err, stored)
	}
	if got := publish(t, b, numbered(1)...)[0]; got.err != nil {
		t.Errorf("another stream: %v", got.err)
	}
}

// TestSpaceGuard keeps more free than the disk has; buckets may use half of the reserve.
func TestSpaceGuard(t *testing.T) {
	dir := t.TempDir()
	b := open(t, backbone.Config{Dir: dir, MinFree: math.MaxInt64 / 4})
	if got := publish(t, b, numbered(1)...)[0]; !errors.Is(got.err, backbone.ErrFull) {
		t.Errorf("publish: got %+v, want %v", got, backbone.ErrFull)
	}
	k, err := b.Bucket("consents")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Put(t.Context(), "a", nil); !errors.Is(err, backbone.ErrFull) {
		t.Errorf("put: got %v, want %v", err, backbone.ErrFull)
	}
	if err := b.Err(); err != nil {
		t.Errorf("the guard is no failure: %v", err)
	}
}

// TestBusyBoundsMemory publishes while nothing is taken to disk.
func TestBusyBoundsMemory(t *testing.T) {
	for name, size := range map[string]int{"large": backbone.MaxData, "small": 0} {
		t.Run(name, func(t *testing.T) {
			b := open(t, backbone.Config{})
			data := make([]byte, size)
			count := min(3*backbone.QueueMessages, max(3*backbone.QueueBytes/(size+1), 20))
			if size == 0 {
				count = 6 * backbone.QueueMessages
			}
			var stored, busy, calls atomic.Int64
			var all sync.WaitGroup
			all.Add(count)
			most, mostBytes := 0, 0
			held, filled := make(chan struct{}), make(chan struct{})
			b.Publish(backbone.Message{Subject: "up.car"}, func(uint64, error) { // the committer is held, however fast the disk is
				close(held)
				<-filled
			})
			<-held
			for range count {
				b.Publish(backbone.Message{Subject: "up.car", Data: data}, func(_ uint64, err error) {
					calls.Add(1)
					switch {
					case err == nil:
						stored.Add(1)
					case errors.Is(err, backbone.ErrBusy):
						busy.Add(1)
					default:
						t.Errorf("got %v", err)
					}
					all.Done()
				})
				if s := b.Stats(); s.Queued > most || s.QueuedBytes > mostBytes {
					most, mostBytes = max(most, s.Queued), max(mostBytes, s.QueuedBytes)
				}
			}
			close(filled)
			waitFor(t, &all)
			t.Logf("%d published: %d stored, %d busy; at most %d messages, %d bytes waited", count, stored.Load(), busy.Load(), most, mostBytes)
			if busy.Load() == 0 || most > backbone.QueueMessages || mostBytes > backbone.QueueBytes {
				t.Errorf("got %d busy, %d messages, %d bytes; want some busy, at most %d and %d", busy.Load(), most, mostBytes, backbone.QueueMessages, backbone.QueueBytes)
			}
			info, err := b.Info(t.Context(), backbone.Up)
			if err != nil || info.Messages != uint64(stored.Load())+1 || calls.Load() != int64(count) {
				t.Errorf("got %+v, %v and %d calls of done, want %d stored and %d calls", info, err, calls.Load(), stored.Load(), count)
			}
		})
	}
}

func TestCloseStoresWhatWaits(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	b := open(t, backbone.Config{Dir: dir})
	var all sync.WaitGroup
	all.Add(3000)
	var failed atomic.Int64
	for _, m := range numbered(3000) {
		b.Publish(m, func(_ uint64, err error) {
			if err != nil {
				failed.Add(1)
			}
			all.Done()
		})
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, &all)
	if n := failed.Load(); n != 0 {
		t.Errorf("%d messages failed", n)
	}
	if got := publish(t, b, numbered(1)...)[0]; !errors.Is(got.err, backbone.ErrClosed) {
		t.Errorf("publish after Close: got %+v, want %v", got, backbone.ErrClosed)
	}
	if _, err := b.Read(t.Context(), backbone.Up, 1, 1, 0); !errors.Is(err, backbone.ErrClosed) {
		t.Errorf("read after Close: got %v, want %v", err, backbone.ErrClosed)
	}
	if _, err := b.Bucket("x"); !errors.Is(err, backbone.ErrClosed) {
		t.Errorf("bucket after Close: got %v, want %v", err, backbone.ErrClosed)
	}
	again := open(t, backbone.Config{Dir: dir})
	if info, err := again.Info(t.Context(), backbone.Up); err != nil || info.Messages != 3000 {
		t.Errorf("got %+v, %v, want 3000 messages", info, err)
	}
}

func TestHistogram(t *testing.T) {
	b := open(t, backbone.Config{})
	publish(t, b, numbered(1000)...)
	h := b.Stats().Latency
	if h.Count() != 1000 || h.Sum <= 0 || h.Quantile(0.5) > h.Quantile(0.99) || h.Quantile(0.99) > 10*time.Second || h.Quantile(0) <= 0 {
		t.Errorf("got count %d, sum %v, p0 %v, p50 %v, p99 %v", h.Count(), h.Sum, h.Quantile(0), h.Quantile(0.5), h.Quantile(0.99))
	}
	for i := 1; i < len(h.Counts); i++ {
		if before, bound := h.Bound(i-1), h.Bound(i); bound <= before || bound > before*3/2 {
			t.Errorf("class %d: got bound %v after %v", i, bound, before)
		}
	}
	if got := (backbone.Histogram{}).Quantile(0.5); got != 0 {
		t.Errorf("empty histogram: got %v, want 0", got)
	}
}
