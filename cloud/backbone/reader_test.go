package backbone_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

func TestReaderFollowsTheStream(t *testing.T) {
	b := open(t, backbone.Config{})
	r, err := b.Reader(t.Context(), backbone.Up, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := r.Next(t.Context(), 10, 20*time.Millisecond); err != nil || len(got) != 0 {
		t.Fatalf("empty stream: got %d messages, %v, want none", len(got), err)
	}
	go publish(t, b, numbered(3)...)
	for want := uint64(1); want <= 3; {
		got, err := r.Next(t.Context(), 2, 5*time.Second)
		if err != nil || len(got) == 0 || len(got) > 2 {
			t.Fatalf("got %d messages, %v, want 1 or 2", len(got), err)
		}
		for _, m := range got {
			if m.Sequence != want {
				t.Fatalf("got sequence %d, want %d", m.Sequence, want)
			}
			want++
		}
	}
	if got, err := r.Next(t.Context(), 0, time.Second); got != nil || err != nil {
		t.Errorf("limit 0: got %v, %v, want nothing", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := r.Next(ctx, 1, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
	}
	time.AfterFunc(10*time.Millisecond, r.Close)
	if _, err := r.Next(t.Context(), 1, time.Minute); !errors.Is(err, backbone.ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, backbone.ErrClosed)
	}
}

func TestReaderEndsWithTheBackbone(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Config{})
	publish(t, b, numbered(5000)...) // more than it reads ahead
	r, err := b.Reader(t.Context(), backbone.Up, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := r.Next(t.Context(), 1, 5*time.Second); err != nil || got[0].Sequence != 100 {
		t.Fatalf("got %v, %v, want sequence 100", got, err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = b.Close() })
	for {
		if _, err := r.Next(t.Context(), 10, time.Minute); err != nil {
			if !errors.Is(err, backbone.ErrClosed) {
				t.Errorf("got %v, want %v", err, backbone.ErrClosed)
			}
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRead(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Config{})
	publish(t, b, numbered(1000)...)
	for name, test := range map[string]struct {
		from  uint64
		limit int
		want  int // messages
		first uint64
	}{
		"from the oldest":   {0, 10, 10, 1},
		"in the middle":     {500, 3, 3, 500},
		"at the end":        {1000, 10, 1, 1000},
		"beyond the end":    {1001, 10, 0, 0},
		"far beyond":        {9000, 10, 0, 0},
		"in the middle too": {501, 3, 3, 501},
	} {
		t.Run(name, func(t *testing.T) {
			var all []backbone.Message
			for next := test.from; len(all) < test.limit; {
				wait := 10 * time.Second
				if len(all) >= test.want { // nothing more is there
					wait = 50 * time.Millisecond
				}
				got, err := b.Read(t.Context(), backbone.Up, next, test.limit-len(all), wait)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) == 0 {
					break
				}
				all = append(all, got...)
				next = got[len(got)-1].Sequence + 1
			}
			if len(all) != test.want || len(all) > 0 && all[0].Sequence != test.first {
				t.Errorf("got %d messages, want %d from %d", len(all), test.want, test.first)
			}
		})
	}
	if _, err := b.Read(t.Context(), "SIDEWAYS", 0, 1, 0); !errors.Is(err, backbone.ErrInvalid) {
		t.Errorf("unknown stream: got %v, want %v", err, backbone.ErrInvalid)
	}
}

// TestMaxAge wants messages gone after their age, and a reader from before to go on with what is left.
func TestMaxAge(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Config{Limits: map[string]backbone.Limits{backbone.Up: {MaxAge: time.Second}}})
	publish(t, b, numbered(5)...)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		info, err := b.Info(t.Context(), backbone.Up)
		if err != nil {
			t.Fatal(err)
		}
		if info.Messages == 0 && info.First == 6 && info.Last == 5 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, want an empty stream after 5", info)
		}
	}
	publish(t, b, numbered(1)...)
	if got := readAll(t, b, backbone.Up, 2, 1); got[0].Sequence != 6 {
		t.Errorf("got sequence %d, want 6", got[0].Sequence)
	}
}
