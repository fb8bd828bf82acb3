package backbone_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"telltale.dev/cloud/backbone"
)

// TestForeignTimers: records that are not ours are said, left alone, and hold nobody up.
func TestForeignTimers(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	b := open(t, backbone.Config{Dir: dir})
	k, now := timers(t, b, "x"), time.Now()
	schedule(t, k, backbone.Timer{Owner: "o", Key: "k", At: now, Made: now})
	publish(t, b, message("timer.x", ""), message("timer.x.o.k2", ""), message("timer.x.=zz.k", ""), message("timer.x.o.=6B", ""))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	var log lines
	b = open(t, backbone.Config{Dir: dir, Log: log.logger()})
	var h hands
	running(t, timers(t, b, "x"), h.fire)
	wantStored(t, b, 4)
	if got := h.keys(); len(got) != 1 || log.count("timers=4") != 1 {
		t.Errorf("got %q and the log %s, want one fired and four unreadable", got, log.text.String())
	}
}

// TestTimersOnAShortDisk: they may use half of the reserve, and can be cancelled and fire below.
func TestTimersOnAShortDisk(t *testing.T) {
	t.Parallel() // it mostly waits
	var free atomic.Int64
	free.Store(1 << 40)
	b := open(t, backbone.WithFree(backbone.Config{Dir: t.TempDir(), MinFree: 200 << 20}, func(string) (int64, error) { return free.Load(), nil }))
	k, now := timers(t, b, "x"), time.Now()
	later := func(key string) backbone.Timer {
		return backbone.Timer{Owner: "car", Key: key, At: now.Add(time.Hour), Made: now}
	}
	schedule(t, k, later("a"))
	schedule(t, k, backbone.Timer{Owner: "car", Key: "due", At: now, Made: now})
	free.Store(150 << 20)
	if got := publish(t, b, numbered(1)...)[0]; !errors.Is(got.err, backbone.ErrFull) {
		t.Errorf("data: got %v, want %v", got.err, backbone.ErrFull)
	}
	schedule(t, k, later("b"))
	free.Store(50 << 20)
	if err := k.Schedule(t.Context(), later("c")); !errors.Is(err, backbone.ErrFull) {
		t.Errorf("got %v, want %v", err, backbone.ErrFull)
	}
	if err := k.Cancel(t.Context(), "car", "a"); err != nil {
		t.Errorf("cancel: %v", err)
	}
	var h hands
	running(t, k, h.fire)
	wantStored(t, b, 1)
	until(t, "one timer: the refused one is not counted", func() bool { return b.Stats().Timers == 1 })
}

func TestTimersEndWithTheBackbone(t *testing.T) {
	b := open(t, backbone.Config{})
	k := timers(t, b, "x")
	ended := make(chan error, 1)
	go func() {
		ended <- k.Run(context.Background(), func(context.Context, backbone.Timer) error { return nil })
	}()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, backbone.ErrClosed) {
		t.Errorf("Run: got %v, want %v", err, backbone.ErrClosed)
	}
	if err := k.Schedule(t.Context(), backbone.Timer{Owner: "o", Key: "k", At: time.Now(), Made: time.Now()}); !errors.Is(err, backbone.ErrClosed) {
		t.Errorf("schedule: got %v, want %v", err, backbone.ErrClosed)
	}
	if _, err := b.Timers(t.Context(), "y"); !errors.Is(err, backbone.ErrClosed) {
		t.Errorf("open: got %v, want %v", err, backbone.ErrClosed)
	}
}

// TestExternalTimers: the same on an external server, which goes away while timers are due.
func TestExternalTimers(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	first := natsServer(t, func(o *server.Options) { o.StoreDir = dir })
	b := open(t, backbone.Config{URL: first.ClientURL(), Log: slog.New(slog.DiscardHandler)})
	checkTimers(t, b)
	k, now := timers(t, b, "away"), time.Now()
	for i := range 20 {
		schedule(t, k, backbone.Timer{Owner: "car", Key: fmt.Sprint(i), At: now, Made: now, Payload: bytes.Repeat([]byte{byte(i)}, i)})
	}
	port := first.Addr().(*net.TCPAddr).Port
	first.Shutdown()
	first.WaitForShutdown()
	refused := k.Schedule(t.Context(), backbone.Timer{Owner: "car", Key: "late", At: now, Made: now})
	if !errors.Is(refused, backbone.ErrBusy) && !errors.Is(refused, backbone.ErrUnknown) {
		t.Errorf("without the server: got %v, want %v or %v", refused, backbone.ErrBusy, backbone.ErrUnknown)
	}
	var h hands
	running(t, k, h.fire)
	until(t, "one without the server", func() bool { return len(h.keys()) > 0 })
	natsServer(t, func(o *server.Options) { o.StoreDir, o.Port = dir, port })
	until(t, "the rest", func() bool { return len(h.keys()) == 20 })
	wantStored(t, b, 1) // of another kind
	until(t, "the server again", func() bool {
		return k.Schedule(t.Context(), backbone.Timer{Owner: "car", Key: "late", At: now.Add(time.Hour), Made: now}) == nil
	})
	if s := b.Stats(); s.Timers != 2 {
		t.Errorf("got %d timers, want 2", s.Timers)
	}
}
