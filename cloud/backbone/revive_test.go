//go:build linux

package backbone_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// blinder hides from a backbone how full its disk is.
type blinder struct{ on atomic.Bool }

func (b *blinder) free(dir string) (int64, error) {
	if b.on.Load() {
		return 1 << 40, nil
	}
	var fs syscall.Statfs_t
	err := syscall.Statfs(dir, &fs)
	return int64(fs.Bavail) * int64(fs.Bsize), err
}

// TestDiskFilledByAnother: a disk that is full before the guard has seen it stops nothing for good. Everything
// acknowledged stays, a reader goes on, and publishing too, as soon as there is room.
func TestDiskFilledByAnother(t *testing.T) {
	t.Parallel() // it mostly waits
	disk := smallDisk(t, "48m")
	var log lines
	var eyes blinder
	b := open(t, backbone.Hurried(backbone.WithFree(backbone.Config{Dir: filepath.Join(disk, "data"), MinFree: 4 << 20, Log: log.logger()}, eyes.free)))
	k := bucket(t, b, "vehicles")
	if _, err := k.Put(t.Context(), "car", []byte("one")); err != nil {
		t.Fatal(err)
	}
	stored := uint64(len(publish(t, b, numbered(100)...)))
	r, err := b.Reader(t.Context(), backbone.Up, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ballast := filepath.Join(disk, "ballast")
	for round := range 2 {
		eyes.on.Store(true)
		fillDisk(t, ballast, 2<<20)
		more, refusal := fill(t, b)
		eyes.on.Store(false)
		stored += more
		if !errors.Is(refusal, backbone.ErrFull) && !errors.Is(refusal, backbone.ErrUnknown) || b.Err() != nil {
			t.Fatalf("round %d: got %v, failure %v, want a refusal that passes", round, refusal, b.Err())
		}
		until(t, "a reason", func() bool { return len(b.Refusals()) > 0 })
		if got := publish(t, b, numbered(1)...)[0]; !errors.Is(got.err, backbone.ErrFull) {
			t.Errorf("round %d, while it is full: got %+v, want %v", round, got, backbone.ErrFull)
		}
		if _, err := k.Put(t.Context(), "car", []byte("two")); !errors.Is(err, backbone.ErrFull) {
			t.Errorf("round %d, bucket while it is full: got %v, want %v", round, err, backbone.ErrFull)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		until(t, "room", func() bool { return publish(t, b, numbered(1)...)[0].err == nil })
		stored++
		until(t, "the end of the refusals", func() bool { return len(b.Refusals()) == 0 })
	}
	select {
	case <-b.Failed():
		t.Error("Failed is closed")
	default:
	}
	info, err := b.Info(t.Context(), backbone.Up)
	if err != nil || info.First != 1 || info.Messages < stored || info.Last != info.Messages {
		t.Errorf("got %+v, %v, want at least %d messages from 1 on", info, err, stored)
	}
	checkReads(t, r, info.Last)
	if e, err := k.Get(t.Context(), "car"); err != nil || string(e.Value) != "one" {
		t.Errorf("bucket: got %q, %v, want what was acknowledged", e.Value, err)
	}
	if got := log.count("storing has stopped"); got < 2 || log.count("storing goes on") != got {
		t.Errorf("said %d times that storing stopped and %d times that it goes on, want the same", got, log.count("storing goes on"))
	}
}

// checkReads wants every sequence up to last, once and in order.
func checkReads(t *testing.T, r *backbone.Reader, last uint64) {
	t.Helper()
	next := uint64(1)
	for end := time.Now().Add(time.Minute); next <= last && time.Now().Before(end); {
		got, err := r.Next(t.Context(), 100, time.Second)
		if err != nil {
			t.Fatalf("reader: %v", err)
		}
		for _, m := range got {
			if m.Sequence != next {
				t.Fatalf("reader: got sequence %d, want %d", m.Sequence, next)
			}
			next++
		}
	}
	if next <= last {
		t.Errorf("reader: got up to %d, want %d", next-1, last)
	}
}

// TestNoFilesLeft: no file descriptor is as passing as a full disk.
func TestNoFilesLeft(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	b := open(t, backbone.Hurried(backbone.Config{MinFree: 1}))
	publish(t, b, numbered(10)...)
	none := syscall.Rlimit{Cur: 1, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	stored, refusal := fillAtMost(t, b, 30)
	t.Log(refusal)
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	until(t, "room", func() bool { return publish(t, b, numbered(1)...)[0].err == nil })
	info, err := b.Info(t.Context(), backbone.Up)
	if err != nil || b.Err() != nil || info.Messages < 11+stored {
		t.Errorf("got %+v, %v, failure %v, want at least %d messages", info, err, b.Err(), 11+stored)
	}
}

// TestLowDiskIsSaid: once when it begins, with the figures, and once when it ends.
func TestLowDiskIsSaid(t *testing.T) {
	t.Parallel() // it mostly waits
	var log lines
	free, mu := int64(220<<20), sync.Mutex{}
	set := func(n int64) { mu.Lock(); free = n; mu.Unlock() }
	b := open(t, backbone.Hurried(backbone.WithFree(backbone.Config{Dir: t.TempDir(), Log: log.logger()}, func(string) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		return free, nil
	})))
	const says = "220 MiB free, 256 MiB are kept free: refusing"
	until(t, "a word at the start", func() bool { return log.count(says) == 1 })
	if got := b.Refusals()["disk"]; got != says {
		t.Errorf("got %q, want %q", got, says)
	}
	for range 3 {
		if got := publish(t, b, numbered(1)...)[0]; !errors.Is(got.err, backbone.ErrFull) || !strings.Contains(got.err.Error(), says) {
			t.Errorf("got %+v, want %q", got, says)
		}
	}
	set(300 << 20)
	until(t, "a word at the end", func() bool { return log.count("messages are taken again") == 1 })
	if got := publish(t, b, numbered(1)...)[0]; got.err != nil || len(b.Refusals()) > 0 {
		t.Errorf("got %+v and %v, want it stored", got, b.Refusals())
	}
	set(100 << 20)
	until(t, "a word at the next time", func() bool { return log.count("100 MiB free, 256 MiB are kept free: refusing") == 1 })
	if got := log.count("messages are refused"); got != 2 {
		t.Errorf("said %d times, want 2", got)
	}
}

// TestFullStreamIsSaid: the stream's own limit is a reason of its own, and gone when there is room again.
func TestFullStreamIsSaid(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Hurried(backbone.Config{Limits: map[string]backbone.Limits{backbone.Up: {MaxBytes: 1 << 20}}}))
	stored, refusal := fill(t, b)
	if !errors.Is(refusal, backbone.ErrFull) {
		t.Fatalf("got %v, want %v", refusal, backbone.ErrFull)
	}
	if got := b.Refusals(); !strings.Contains(got["stream UP"], "reached its limit") || len(got) != 1 {
		t.Errorf("got %v, want the stream's limit", got)
	}
	if _, err := b.Trim(t.Context(), backbone.Up, stored); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of it", func() bool { return len(b.Refusals()) == 0 })
}
