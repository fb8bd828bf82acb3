package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// timers opens a kind of timers.
func timers(t testing.TB, b *backbone.Backbone, kind string) *backbone.Timers {
	t.Helper()
	k, err := b.Timers(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// schedule wants a timer to be scheduled.
func schedule(t testing.TB, k *backbone.Timers, timer backbone.Timer) {
	t.Helper()
	if err := k.Schedule(t.Context(), timer); err != nil {
		t.Fatalf("schedule %s %s: %v", timer.Owner, timer.Key, err)
	}
}

// hands is a handler that remembers what it was called with.
type hands struct {
	mu    sync.Mutex
	calls []backbone.Timer
	fail  func(backbone.Timer) error
}

func (h *hands) fire(_ context.Context, timer backbone.Timer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, timer)
	if h.fail != nil {
		return h.fail(timer)
	}
	return nil
}

// keys gives the owners and keys in the order of the calls.
func (h *hands) keys() (keys []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.calls {
		keys = append(keys, c.Owner+"/"+c.Key)
	}
	return keys
}

// running runs timers until the test ends, or stop is called.
func running(t testing.TB, k *backbone.Timers, fire func(context.Context, backbone.Timer) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx, fire) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, backbone.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// wantStored wants so many records on disk.
func wantStored(t *testing.T, b *backbone.Backbone, n uint64) {
	t.Helper()
	until(t, fmt.Sprintf("%d records", n), func() bool {
		info, err := b.Info(t.Context(), "TIMERS")
		return err == nil && info.Messages == n
	})
}

// checkTimers is what timers do on any server.
func checkTimers(t *testing.T, b *backbone.Backbone) {
	t.Helper()
	k, now := timers(t, b, "commands"), time.Now()
	at := func(owner, key string, in time.Duration) backbone.Timer {
		return backbone.Timer{Owner: owner, Key: key, At: now.Add(in), Made: now, Payload: []byte(key + " of " + owner)}
	}
	schedule(t, k, at("a.b/*>\x00ü", "second", -time.Second))
	schedule(t, k, at("a.b/*>\x00ü", "first", -time.Minute))
	schedule(t, k, at("other", "soon", 300*time.Millisecond))
	schedule(t, k, at("other", "never", time.Hour))
	schedule(t, k, at("other", "replaced", -time.Hour))
	schedule(t, k, at("other", "replaced", time.Hour))
	schedule(t, k, at("other", "replaced", time.Hour)) // once more is no write
	schedule(t, timers(t, b, "others"), at("other", "never", -time.Hour))
	wantStored(t, b, 6)
	if s := b.Stats(); s.Timers != 6 {
		t.Errorf("got %d timers, want 6", s.Timers)
	}
	if got, ok := k.Get("other", "never"); !ok || string(got.Payload) != "never of other" || !got.At.Equal(now.Add(time.Hour)) || !got.Made.Equal(now) {
		t.Errorf("got %+v, %v", got, ok)
	}
	if _, ok := k.Get("a", "never"); ok {
		t.Error("got a timer of another owner")
	}
	var h hands
	stop := running(t, k, h.fire)
	until(t, "three timers", func() bool { return len(h.keys()) >= 3 })
	if took := time.Since(now); took < 300*time.Millisecond {
		t.Errorf("fired after %v, want not before its time", took)
	}
	wantStored(t, b, 3)
	if err := k.Run(t.Context(), h.fire); !errors.Is(err, backbone.ErrBusy) {
		t.Errorf("a second Run: got %v, want %v", err, backbone.ErrBusy)
	}
	for _, key := range []string{"never", "replaced"} {
		if err := k.Cancel(t.Context(), "other", key); err != nil {
			t.Errorf("cancel: %v", err)
		}
		if err := k.Cancel(t.Context(), "other", key); !errors.Is(err, backbone.ErrNotFound) {
			t.Errorf("cancel again: got %v, want %v", err, backbone.ErrNotFound)
		}
	}
	stop()
	keys := h.keys()
	if i, j := slices.Index(keys, "a.b/*>\x00ü/first"), slices.Index(keys, "a.b/*>\x00ü/second"); len(keys) != 3 || i < 0 || j < i || !slices.Contains(keys, "other/soon") {
		t.Errorf("got %q, want the first of an owner before its second, and soon", keys)
	}
	wantStored(t, b, 1)
	if s := b.Stats(); s.Fired != 3 || s.FireFailed != 0 || s.Timers != 1 {
		t.Errorf("got %d fired, %d failed, %d timers, want 3, 0 and 1", s.Fired, s.FireFailed, s.Timers)
	}
}

func TestTimers(t *testing.T) {
	t.Parallel() // it mostly waits
	checkTimers(t, open(t, backbone.Config{}))
}

func TestTimersRefuseMalformed(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Config{})
	k, now := timers(t, b, "x"), time.Now()
	for name, test := range map[string]struct {
		timer backbone.Timer
		want  error
		says  string
	}{
		"no owner":    {backbone.Timer{Key: "k", At: now, Made: now}, backbone.ErrInvalid, "owner has 0 bytes"},
		"no key":      {backbone.Timer{Owner: "o", At: now, Made: now}, backbone.ErrInvalid, "key has 0 bytes"},
		"long key":    {backbone.Timer{Owner: "o", Key: strings.Repeat("k", 65), At: now, Made: now}, backbone.ErrInvalid, "key has 65 bytes, expected 1 to 64"},
		"no time":     {backbone.Timer{Owner: "o", Key: "k", Made: now}, backbone.ErrInvalid, "At: expected a time"},
		"no entry":    {backbone.Timer{Owner: "o", Key: "k", At: now}, backbone.ErrInvalid, "Made: expected a time"},
		"far future":  {backbone.Timer{Owner: "o", Key: "k", At: time.Unix(math.MaxInt64/4, 0), Made: now}, backbone.ErrInvalid, "At: expected a time"},
		"large":       {backbone.Timer{Owner: "o", Key: "k", At: now, Made: now, Payload: make([]byte, 4097)}, backbone.ErrTooLarge, "4097 bytes"},
		"largest":     {backbone.Timer{Owner: strings.Repeat("\xff", 64), Key: strings.Repeat("\xff", 64), At: now.AddDate(7000, 0, 0), Made: now, Payload: make([]byte, 4096)}, nil, ""},
		"made before": {backbone.Timer{Owner: "o", Key: "k", At: now, Made: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := k.Schedule(t.Context(), test.timer); !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v with %q", err, test.want, test.says)
			}
		})
	}
	if _, err := b.Timers(t.Context(), "no.kind"); !errors.Is(err, backbone.ErrInvalid) {
		t.Errorf("kind: got %v, want %v", err, backbone.ErrInvalid)
	}
}
