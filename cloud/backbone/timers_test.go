package backbone_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

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

// hand is a clock that is set by hand.
type hand struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
}

func (c *hand) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.wall }
func (c *hand) since() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// pass lets time go by; set sets the clock.
func (c *hand) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
}

func (c *hand) set(by time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.wall = c.wall.Add(by) }

// TestTimersAndTheClock sets the clock forward and back, while a process runs and between two.
func TestTimersAndTheClock(t *testing.T) {
	t.Parallel() // it mostly waits
	clock := &hand{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	cfg := backbone.Hurried(backbone.SetClock(backbone.Config{Dir: t.TempDir()}, clock.now, clock.since))
	b := open(t, cfg)
	k := timers(t, b, "x")
	in := func(key string, d time.Duration) {
		t.Helper()
		schedule(t, k, backbone.Timer{Owner: "car", Key: key, At: clock.now().Add(d), Made: clock.now()})
	}
	var h hands
	stop := running(t, k, h.fire)
	want := func(keys ...string) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for time.Now().Before(deadline) && len(h.keys()) < len(keys) {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond) // some looks at the clock, for what must not fire
		if got := h.keys(); fmt.Sprint(got) != fmt.Sprint(keys) {
			t.Fatalf("got %q, want %q", got, keys)
		}
	}
	in("a", 10*time.Second)
	in("b", time.Hour)
	want()
	clock.pass(10 * time.Second)
	want("car/a")
	clock.set(2 * time.Hour) // forward
	want("car/a", "car/b")
	in("c", 10*time.Second)
	in("d", time.Minute)
	clock.set(-5 * time.Hour) // back: d has still a minute to wait, not five hours
	clock.pass(9 * time.Second)
	want("car/a", "car/b")
	clock.pass(2 * time.Second)
	want("car/a", "car/b", "car/c")
	stop()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	clock.set(-24 * time.Hour) // between two processes
	b = open(t, cfg)
	k = timers(t, b, "x")
	running(t, k, h.fire)
	clock.pass(59 * time.Second)
	want("car/a", "car/b", "car/c")
	clock.pass(2 * time.Second)
	want("car/a", "car/b", "car/c", "car/d")
}

// TestTimerBounds: an owner at its bound hurts nobody else; what fired, was cancelled or replaced makes room; a restart counts the same.
func TestTimerBounds(t *testing.T) {
	t.Parallel() // it mostly waits
	cfg := backbone.Config{Dir: t.TempDir(), Timers: backbone.TimerLimits{OwnerTimers: 3, OwnerBytes: 1000, Timers: 6, Bytes: 100_000}}
	b := open(t, cfg)
	k, now := timers(t, b, "x"), time.Now()
	try := func(owner, key string, size int) error {
		return k.Schedule(t.Context(), backbone.Timer{Owner: owner, Key: key, At: now.Add(time.Hour), Made: now, Payload: make([]byte, size)})
	}
	want := func(what string, err error, says string) {
		t.Helper()
		if says == "" && err != nil || says != "" && (!errors.Is(err, backbone.ErrFull) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: got %v, want %q", what, err, says)
		}
	}
	for i := range 3 {
		want("up to the bound", try("greedy", fmt.Sprint(i), 0), "")
	}
	want("beyond it", try("greedy", "3", 0), "owner's timers: 4, expected at most 3")
	want("in the place of another", try("greedy", "2", 10), "")
	want("the bytes", try("greedy", "2", 900), "bytes of the owner's timers")
	want("somebody else", try("modest", "0", 0), "")
	if err := k.Cancel(t.Context(), "greedy", "0"); err != nil {
		t.Fatal(err)
	}
	want("after a cancel", try("greedy", "3", 0), "")
	want("others", errors.Join(try("c", "0", 0), try("d", "0", 0)), "")
	want("all of them", try("e", "0", 0), "timers: 7, expected at most 6")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, cfg)
	k = timers(t, b, "x")
	want("after a restart", try("e", "0", 0), "timers: 7, expected at most 6")
	want("the owner after a restart", try("greedy", "4", 0), "owner's timers: 4")
	schedule(t, k, backbone.Timer{Owner: "greedy", Key: "1", At: now, Made: now})
	var h hands
	running(t, k, h.fire)
	until(t, "room", func() bool { return try("greedy", "4", 0) == nil })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Timers = backbone.TimerLimits{Bytes: 300} // less than there is: what is there stays
	b = open(t, cfg)
	k = timers(t, b, "x")
	want("the bytes of all", try("e", "0", 0), "bytes of all timers")
	if s := b.Stats(); s.Timers != 6 {
		t.Errorf("got %d timers, want 6", s.Timers)
	}
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

// memoryDir is a folder in memory, if there is a place for it: for what is about the number of writes, not about the disk.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "backbone")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestTenThousandTimers are due at once: each fires, while others are scheduled and cancelled.
func TestTenThousandTimers(t *testing.T) {
	t.Parallel() // beside those that mostly wait
	const owners, each = 250, 40
	b := open(t, backbone.Config{Dir: memoryDir(t)})
	k, now := timers(t, b, "x"), time.Now()
	var all sync.WaitGroup
	for owner := range owners {
		all.Go(func() {
			for key := range each {
				err := k.Schedule(t.Context(), backbone.Timer{Owner: fmt.Sprint("car", owner), Key: fmt.Sprint(key), At: now.Add(-time.Duration(key) * time.Second), Made: now})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	waitFor(t, &all)
	scheduled := time.Since(now)
	var calls sync.Map
	var n, late atomic.Int64
	start := time.Now()
	running(t, k, func(_ context.Context, timer backbone.Timer) error {
		if _, again := calls.LoadOrStore(timer.Owner+"/"+timer.Key, true); again {
			t.Errorf("%s %s fired twice", timer.Owner, timer.Key)
		}
		if n.Add(1) == owners*each {
			late.Store(int64(time.Since(start)))
		}
		return nil
	})
	for end := start.Add(2 * time.Minute); n.Load() < owners*each && time.Now().Before(end); { // slow under the race detector
		time.Sleep(10 * time.Millisecond)
	}
	until(t, "the end of the last one", func() bool { return b.Stats().Timers == 0 })
	wantStored(t, b, 0)
	t.Logf("%d timers: scheduled in %v, the last one fired after %v, all records deleted after %v", owners*each, scheduled, time.Duration(late.Load()), time.Since(start))
}

// TestCancelRacesFiring cancels timers in the moment they are due: each is cancelled or fires, never both nor neither.
func TestCancelRacesFiring(t *testing.T) {
	t.Parallel() // it mostly waits
	const owners, each = 20, 30
	b := open(t, backbone.Config{})
	k, now := timers(t, b, "x"), time.Now()
	var all sync.WaitGroup
	for owner := range owners {
		all.Go(func() {
			for key := range each {
				at := now.Add(500*time.Millisecond + time.Duration(key)*10*time.Millisecond)
				if err := k.Schedule(t.Context(), backbone.Timer{Owner: fmt.Sprint(owner), Key: fmt.Sprint(key), At: at, Made: now}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	waitFor(t, &all)
	var h hands
	running(t, k, h.fire)
	cancelled := make([]map[string]bool, owners)
	for owner := range owners {
		cancelled[owner] = map[string]bool{}
		all.Go(func() {
			for key := range each {
				if at := now.Add(500*time.Millisecond + time.Duration(key)*10*time.Millisecond); owner%3 > 0 {
					time.Sleep(time.Until(at.Add(time.Duration(owner%5-1) * time.Millisecond)))
				}
				switch err := k.Cancel(t.Context(), fmt.Sprint(owner), fmt.Sprint(key)); {
				case err == nil:
					cancelled[owner][fmt.Sprint(owner, "/", key)] = true
				case !errors.Is(err, backbone.ErrFired) && !errors.Is(err, backbone.ErrNotFound):
					t.Errorf("cancel: %v", err)
				}
			}
		})
	}
	waitFor(t, &all)
	wantStored(t, b, 0)
	seen, n := map[string]int{}, 0
	for _, key := range h.keys() {
		seen[key]++
	}
	for owner := range owners {
		for key := range each {
			name := fmt.Sprint(owner) + "/" + fmt.Sprint(key)
			was := cancelled[owner][fmt.Sprint(owner, "/", key)]
			if was {
				n++
			}
			if was && seen[name] != 0 || !was && seen[name] != 1 {
				t.Errorf("%s: cancelled %v, fired %d times", name, was, seen[name])
			}
		}
	}
	t.Logf("%d cancelled, %d fired", n, len(seen))
	if n == 0 || len(seen) == 0 {
		t.Errorf("got %d cancelled and %d fired, want some of both", n, len(seen))
	}
}

// TestTimerHandlerFails: it is called again later, holds only its owner's timers, and gives way to what takes its place.
func TestTimerHandlerFails(t *testing.T) {
	t.Parallel() // it mostly waits
	clock := &hand{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	b := open(t, backbone.Hurried(backbone.SetClock(backbone.Config{}, clock.now, clock.since)))
	k := timers(t, b, "x")
	timer := func(owner, key, text string) backbone.Timer {
		return backbone.Timer{Owner: owner, Key: key, At: clock.now(), Made: clock.now(), Payload: []byte(text)}
	}
	broken := atomic.Bool{}
	broken.Store(true)
	h := hands{fail: func(timer backbone.Timer) error {
		if timer.Key == "bad" && broken.Load() {
			return errors.New("broken")
		}
		return nil
	}}
	schedule(t, k, timer("car", "bad", "one"))
	schedule(t, k, timer("car", "good", ""))
	schedule(t, k, timer("other", "good", ""))
	running(t, k, h.fire)
	count := func(key string) func() bool {
		return func() bool { return slices.Contains(h.keys(), key) }
	}
	until(t, "the other owner's", count("other/good"))
	until(t, "the owner's next", count("car/good"))
	for tries := 1; tries <= 3; tries++ {
		until(t, "a try", func() bool { return b.Stats().FireFailed == uint64(tries) })
		clock.pass(time.Second<<(tries-1) - time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		if got := b.Stats().FireFailed; got != uint64(tries) {
			t.Fatalf("got %d tries before their time, want %d", got, tries)
		}
		clock.pass(time.Millisecond)
	}
	until(t, "a try", func() bool { return b.Stats().FireFailed == 4 })
	schedule(t, k, timer("car", "bad", "two"))
	until(t, "a try of the new one", func() bool { return b.Stats().FireFailed == 5 })
	broken.Store(false)
	clock.pass(time.Minute)
	wantStored(t, b, 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.calls[len(h.calls)-1]; string(last.Payload) != "two" {
		t.Errorf("got %q at last, want two", last.Payload)
	}
}

// TestTimerSchedulesItself: a handler that schedules its own key again is called again.
func TestTimerSchedulesItself(t *testing.T) {
	b := open(t, backbone.Config{})
	k, now := timers(t, b, "x"), time.Now()
	var n atomic.Int64
	schedule(t, k, backbone.Timer{Owner: "car", Key: "tick", At: now, Made: now})
	running(t, k, func(ctx context.Context, timer backbone.Timer) error {
		if n.Add(1) == 5 {
			return nil
		}
		timer.Made, timer.At = timer.At, timer.At.Add(time.Millisecond)
		return k.Schedule(ctx, timer)
	})
	until(t, "five ticks", func() bool { return n.Load() == 5 })
	wantStored(t, b, 0)
	until(t, "no timer", func() bool { return b.Stats().Timers == 0 })
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
