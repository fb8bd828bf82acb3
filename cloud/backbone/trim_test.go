package backbone_test

import (
	"errors"
	"math"
	"testing"

	"telltale.dev/cloud/backbone"
)

// bulk makes n messages of 10 kB for stream LOW.
func bulk(n int) []backbone.Message {
	messages := make([]backbone.Message, n)
	for i := range messages {
		messages[i] = backbone.Message{Subject: "low.p1.car.batch", Data: make([]byte, 10_000)}
	}
	return messages
}

// trim wants Trim to delete n messages, and the stream to begin at first afterwards.
func trim(t *testing.T, b *backbone.Backbone, through, n, first uint64) {
	t.Helper()
	got, err := b.Trim(t.Context(), backbone.Low, through)
	if err != nil || got != n {
		t.Fatalf("Trim through %d: got %d, %v, want %d", through, got, err, n)
	}
	if info, err := b.Info(t.Context(), backbone.Low); err != nil || info.First != first {
		t.Fatalf("got %+v, %v, want it to begin at %d", info, err, first)
	}
}

// pressed wants Pressed to say so of stream LOW.
func pressed(t *testing.T, b *backbone.Backbone, want bool) {
	t.Helper()
	if got, err := b.Pressed(t.Context(), backbone.Low); err != nil || got != want {
		t.Fatalf("Pressed: got %v, %v, want %v", got, err, want)
	}
}

// TestTrim fills a stream of ten messages: what is needed stays, what is not makes room down to the half.
func TestTrim(t *testing.T) {
	dir := t.TempDir()
	cfg := backbone.Config{Dir: dir, Limits: map[string]backbone.Limits{backbone.Low: {MaxBytes: 103_000}}}
	b := open(t, cfg)
	publish(t, b, bulk(5)...)
	trim(t, b, 5, 0, 1) // half full
	publish(t, b, bulk(2)...)
	pressed(t, b, false) // 70 of 103 kB
	publish(t, b, bulk(3)...)
	pressed(t, b, true)
	if got := publish(t, b, bulk(1)...)[0]; !errors.Is(got.err, backbone.ErrFull) {
		t.Fatalf("got %+v, want %v", got, backbone.ErrFull)
	}
	trim(t, b, 0, 0, 1)
	trim(t, b, 1, 0, 1) // the last one that is not needed stays
	trim(t, b, 3, 2, 3)
	trim(t, b, 10, 3, 6)
	trim(t, b, 10, 0, 6)
	if got := publish(t, b, bulk(1)...)[0]; got.err != nil || got.seq != 11 {
		t.Fatalf("got %+v, want room for message 11", got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, cfg)
	if got := readAll(t, b, backbone.Low, 0, 6); got[0].Sequence != 6 || got[5].Sequence != 11 {
		t.Errorf("after a restart: got %d to %d, want 6 to 11", got[0].Sequence, got[5].Sequence)
	}
	if _, err := b.Trim(t.Context(), "SIDEWAYS", 1); !errors.Is(err, backbone.ErrInvalid) {
		t.Errorf("unknown stream: got %v, want %v", err, backbone.ErrInvalid)
	}
}

// TestTrimShortDisk: a stream without a limit gives its room back when the disk is short, but never its last message.
func TestTrimShortDisk(t *testing.T) {
	dir := t.TempDir()
	b := open(t, backbone.Config{Dir: dir})
	for range 8 { // each in a record of its own
		publish(t, b, bulk(1)...)
	}
	trim(t, b, 8, 0, 1)
	pressed(t, b, false)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, backbone.Config{Dir: dir, MinFree: math.MaxInt64 / 4})
	trim(t, b, 6, 5, 6)
	trim(t, b, 8, 2, 8)
	trim(t, b, 8, 0, 8)
	pressed(t, b, true)
}
