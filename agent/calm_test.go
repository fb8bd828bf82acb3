package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeatedLinesAreCounted: a line that comes as fast as a broker can make it is
// written a few times, then once a minute with how many were left out; others are not held back.
func TestRepeatedLinesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(calmly(slog.NewTextHandler(&out, nil)))
		for i := range 1000 {
			log.Warn("message refused", "bytes", i)
			log.With("room", "link").Warn("message refused", "bytes", i)
		}
		log.Info("connected")
		if n := strings.Count(out.String(), "message refused"); n != 3 {
			t.Errorf("got %d lines, want 3", n)
		}
		if !strings.Contains(out.String(), "connected") {
			t.Error("another line was left out")
		}
		out.Reset()
		for range 10 {
			time.Sleep(repeatInterval)
			for range 50 {
				log.Warn("message refused")
			}
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 10 || !strings.Contains(lines[0], "left_out=1997") || !strings.Contains(lines[9], "left_out=49") {
			t.Errorf("got %d lines, want 10 with counts:\n%s", len(lines), out.String())
		}
	})
}

// TestManyMessages: the table of messages is bounded.
func TestManyMessages(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(calmly(slog.NewTextHandler(&out, nil)))
	for i := range 10_000 {
		log.Warn(strings.Repeat("x", i))
	}
	if n := strings.Count(out.String(), "\n"); n != maxMessages {
		t.Errorf("got %d lines, want %d", n, maxMessages)
	}
}
