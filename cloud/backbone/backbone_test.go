package backbone_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// open opens a backbone on a directory of the test and closes it afterwards.
func open(t testing.TB, cfg backbone.Config) *backbone.Backbone {
	t.Helper()
	if cfg.Dir == "" && cfg.URL == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	awaitForks()
	b, err := backbone.Open(cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil && !errors.Is(err, backbone.ErrFailed) {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// awaitForks waits for a child process that another test is starting: for a moment it has the lock of a directory, too.
func awaitForks() {
	syscall.ForkLock.RLock()
	//lint:ignore SA2001 it only waits
	syscall.ForkLock.RUnlock()
}

// logWriter shows log lines with the test they belong to.
type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

// result is what done was called with.
type result struct {
	seq uint64
	err error
}

// publish publishes all and waits for every result, in the order of messages.
func publish(t testing.TB, b *backbone.Backbone, messages ...backbone.Message) []result {
	t.Helper()
	got := make([]result, len(messages))
	var all sync.WaitGroup
	all.Add(len(messages))
	for i, m := range messages {
		b.Publish(m, func(seq uint64, err error) {
			got[i] = result{seq, err}
			all.Done()
		})
	}
	waitFor(t, &all)
	return got
}

func waitFor(t testing.TB, all *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("not every done was called within 30 s")
	}
}

// numbered makes n messages whose data tell them apart.
func numbered(n int) []backbone.Message {
	messages := make([]backbone.Message, n)
	for i := range messages {
		messages[i] = backbone.Message{Subject: "up.s1.car.batch", Data: fmt.Appendf(nil, "message %d", i)}
	}
	return messages
}

// readAll reads a stream from a sequence until n messages came.
func readAll(t testing.TB, b *backbone.Backbone, stream string, from uint64, n int) []backbone.Message {
	t.Helper()
	r, err := b.Reader(t.Context(), stream, from)
	if err != nil {
		t.Fatalf("Reader: %v", err)
	}
	defer r.Close()
	var all []backbone.Message
	for len(all) < n {
		got, err := r.Next(t.Context(), n-len(all), 30*time.Second)
		if err != nil || len(got) == 0 {
			t.Fatalf("Next after %d of %d: %d messages, error %v", len(all), n, len(got), err)
		}
		all = append(all, got...)
	}
	return all
}

func TestPublishAndRead(t *testing.T) {
	b := open(t, backbone.Config{})
	want := numbered(2000)
	want[7].Header = map[string]string{"pr": "3", "Content-Type": "application/cbor; a=b", "empty": "", "utf8": "Zürich"}
	for i, r := range publish(t, b, want...) {
		if r.err != nil || r.seq != uint64(i+1) {
			t.Fatalf("message %d: got sequence %d, error %v, want sequence %d", i, r.seq, r.err, i+1)
		}
	}
	for i, got := range readAll(t, b, backbone.Up, 0, len(want)) {
		if got.Sequence != uint64(i+1) || got.Subject != want[i].Subject || !bytes.Equal(got.Data, want[i].Data) ||
			fmt.Sprint(got.Header) != fmt.Sprint(want[i].Header) || time.Since(got.Stored).Abs() > time.Minute {
			t.Fatalf("message %d: got %v, want %v", i, got, want[i])
		}
	}
	s := b.Stats()
	if s.Stored != 2000 || s.Batches == 0 || s.Queued != 0 || s.Fallbacks != 0 {
		t.Errorf("stats: got %+v, want 2000 stored in batches, none waiting", s)
	}
	t.Logf("%d batches, %d singles, p50 %v, p99 %v", s.Batches, s.Singles, s.Latency.Quantile(0.5), s.Latency.Quantile(0.99))
}
