package backbone_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"telltale.dev/cloud/backbone"
)

// stranger is somebody else's connection to a server.
func stranger(t *testing.T, s *server.Server) nats.JetStreamContext {
	t.Helper()
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestForeignMessages: what somebody else stores at an external server in a stream of vehicles is passed over, counted and said once; the
// sequences go on where they were, and nothing that was acknowledged is passed over with it, also after a restart.
func TestForeignMessages(t *testing.T) {
	t.Parallel() // it mostly waits
	s := natsServer(t, func(*server.Options) {})
	var log bytes.Buffer
	cfg := backbone.Config{URL: s.ClientURL(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	b := open(t, cfg)
	js := stranger(t, s)
	const rounds, each = 6, 30
	want := 0
	round := func(b *backbone.Backbone) {
		t.Helper()
		if _, err := js.Publish("up.stranger", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		for i, got := range burst(t, b, numbered(1)[0], numbered(each)...) {
			if got.err != nil || got.seq != uint64(want+i+2) {
				t.Fatalf("message %d: got %+v, want sequence %d", i, got, want+i+2)
			}
		}
		want += each + 1
	}
	burst(t, b, numbered(1)[0], numbered(each)...)
	want += each + 1
	for range rounds {
		round(b)
	}
	check := func(b *backbone.Backbone) {
		t.Helper()
		if info, err := b.Info(t.Context(), backbone.Up); err != nil || info.Last != uint64(want) {
			t.Errorf("got %+v, %v, want the last %d", info, err, want)
		}
		for from := uint64(1); from <= uint64(want); from += 7 {
			backbone.ForgetRecords(b, backbone.Up)
			if got, err := b.Read(t.Context(), backbone.Up, from, 1, time.Minute); err != nil || len(got) != 1 || got[0].Sequence != from {
				t.Fatalf("read from %d: got %+v, %v", from, got, err)
			}
		}
		for i, m := range readAll(t, b, backbone.Up, 1, want) {
			if m.Sequence != uint64(i+1) || m.Subject == "up.stranger" {
				t.Fatalf("message %d: got sequence %d of %s", i, m.Sequence, m.Subject)
			}
		}
	}
	check(b)
	if got := b.Stats().Foreign; got < rounds || strings.Count(log.String(), "somebody else stores messages") != 1 {
		t.Errorf("got %d foreign messages and the log\n%s\nwant at least %d of them, said once", got, log.String(), rounds)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish("up.stranger", []byte("hello again")); err != nil {
		t.Fatal(err)
	}
	b = open(t, cfg)
	round(b)
	check(b)
}

// TestEndGone: a stream that ends before what was acknowledged takes nothing more, and says why.
func TestEndGone(t *testing.T) {
	t.Parallel() // it mostly waits
	s := natsServer(t, func(*server.Options) {})
	b := open(t, backbone.Config{URL: s.ClientURL(), Log: slog.New(slog.DiscardHandler)})
	burst(t, b, numbered(1)[0], numbered(30)...)
	js := stranger(t, s)
	info, err := js.StreamInfo(backbone.Up)
	if err == nil {
		err = js.DeleteStream(backbone.Up)
	}
	if err == nil {
		_, err = js.AddStream(&info.Config)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := publish(t, b, numbered(1)...)[0]; got.err == nil {
		t.Errorf("got sequence %d in another stream, want an error", got.seq)
	}
	if why := b.Refusals()["stream UP"]; !strings.Contains(why, "message 31 was stored, and now the stream ends at 0") {
		t.Errorf("got refusals %v", b.Refusals())
	}
}

// TestFullStreamAsksOnce: when a stream is full the server is asked a few times for a batch, and not for each of its messages.
func TestFullStreamAsksOnce(t *testing.T) {
	const limit = 1 << 20
	b := open(t, backbone.Config{Limits: map[string]backbone.Limits{backbone.Up: {MaxBytes: limit}}})
	large := func(n int) []backbone.Message {
		list := numbered(n)
		for i := range list {
			list[i].Data = bytes.Repeat([]byte{byte(i)}, 2000)
		}
		return list
	}
	for full := false; !full; {
		for _, got := range burst(t, b, numbered(1)[0], large(16)...) {
			full = full || got.err != nil
		}
	}
	before := b.Stats()
	refused := 0
	for _, got := range publish(t, b, large(400)...) {
		if got.err != nil {
			refused++
		}
	}
	after := b.Stats()
	if halves := after.Fallbacks - before.Fallbacks; refused != 400 || halves > 200 {
		t.Errorf("got %d of 400 messages refused after %d batches were halved", refused, halves)
	}
}

// TestReadIsSmall: who reads a few messages at a new place has not much more than these sent, though they are in large records.
func TestReadIsSmall(t *testing.T) {
	t.Parallel() // it mostly waits
	s := natsServer(t, func(*server.Options) {})
	b := open(t, backbone.Config{URL: s.ClientURL(), Log: slog.New(slog.DiscardHandler)})
	list := numbered(200)
	for i := range list {
		list[i].Data = bytes.Repeat([]byte{byte(i)}, 2000)
	}
	for range 40 { // 16 MB in records of 400 kB
		burst(t, b, numbered(1)[0], list...)
	}
	sent := func() int64 {
		v, err := s.Varz(nil)
		if err != nil {
			t.Fatal(err)
		}
		return v.OutBytes
	}
	before := sent()
	const reads = 4
	for n := range uint64(reads) {
		if got, err := b.Read(t.Context(), backbone.Up, 100+n*1700, 10, time.Minute); err != nil || len(got) == 0 {
			t.Fatalf("got %d messages, %v", len(got), err)
		}
	}
	if each := (sent() - before) / reads; each > 4<<20 {
		t.Errorf("%d bytes were sent for each read, want at most 4 MiB", each)
	}
}

// TestNoDeletingLimits: the streams of vehicles never delete what nobody has read.
func TestNoDeletingLimits(t *testing.T) {
	_, err := backbone.Open(backbone.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Limits: map[string]backbone.Limits{backbone.Low: {PerSubject: 3}}})
	if err == nil || !strings.Contains(fmt.Sprint(err), "deleted unread") {
		t.Errorf("got %v, want an error", err)
	}
}
