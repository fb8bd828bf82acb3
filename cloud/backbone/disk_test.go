//go:build linux

package backbone_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

// smallDisk mounts a file system in memory of that many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount: %v", err)
		}
		t.Skipf("mount: %v (needs root)", err)
	}
	t.Cleanup(func() {
		// Detached: nats-server lets go of its last files some time after it has stopped.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill publishes until a message is refused and gives the number that were stored and the refusal.
func fill(t *testing.T, b *backbone.Backbone) (stored uint64, refusal error) {
	t.Helper()
	if stored, refusal = fillAtMost(t, b, 100); refusal == nil {
		t.Fatal("the small disk never filled")
	}
	return stored, refusal
}

// fillAtMost is fill for so many rounds of 800 kB at most; a nil refusal says that all of them were stored.
func fillAtMost(t *testing.T, b *backbone.Backbone, rounds int) (stored uint64, refusal error) {
	t.Helper()
	for range rounds {
		messages := numbered(40)
		for i := range messages {
			messages[i].Data = append(messages[i].Data, make([]byte, 20_000)...)
		}
		for _, r := range publish(t, b, messages...) {
			if r.err == nil {
				stored++
			} else {
				refusal = r.err
			}
		}
		if refusal != nil {
			return stored, refusal
		}
	}
	return stored, nil
}

// TestFullDisk fills a disk up to the reserve: data are refused, a bucket still works, nothing fails for good.
func TestFullDisk(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := smallDisk(t, "48m")
	b := open(t, backbone.Config{Dir: filepath.Join(dir, "data"), MinFree: 20 << 20})
	k, err := b.Bucket("consents")
	if err != nil {
		t.Fatal(err)
	}
	stored, refusal := fill(t, b)
	if !errors.Is(refusal, backbone.ErrFull) || b.Err() != nil || stored == 0 {
		t.Fatalf("after %d messages: got %v, failure %v, want %v and no failure", stored, refusal, b.Err(), backbone.ErrFull)
	}
	t.Log(refusal)
	if _, err := k.Put(t.Context(), "car", []byte("withdrawn")); err != nil {
		t.Errorf("bucket within the reserve: %v", err)
	}
	if got := readAll(t, b, backbone.Up, 0, int(stored)); uint64(len(got)) != stored {
		t.Errorf("got %d messages, want %d", len(got), stored)
	}
}

// TestFailedWrite fills the disk without the guard: the failure is final, told at once,
// and after a restart with space everything acknowledged is there.
func TestFailedWrite(t *testing.T) {
	t.Parallel() // it mostly waits
	disk := smallDisk(t, "48m")
	dir := filepath.Join(disk, "data")
	b := open(t, backbone.Config{Dir: dir, MinFree: -1})
	first := publish(t, b, numbered(100)...)
	ballast := filepath.Join(disk, "ballast")
	fillDisk(t, ballast, 3<<20)
	start := time.Now()
	more, refusal := fill(t, b)
	if !errors.Is(refusal, backbone.ErrFailed) {
		t.Fatalf("after %d more: got %v, want %v", more, refusal, backbone.ErrFailed)
	}
	t.Logf("%d more, then after %v: %v", more, time.Since(start), refusal)
	select {
	case <-b.Failed():
	case <-time.After(time.Second):
		t.Error("Failed is not closed")
	}
	if got := publish(t, b, numbered(1)...)[0]; !errors.Is(got.err, backbone.ErrFailed) {
		t.Errorf("publish after the failure: got %+v, want %v", got, backbone.ErrFailed)
	}
	if err := b.Close(); !errors.Is(err, backbone.ErrFailed) {
		t.Errorf("Close: got %v, want %v", err, backbone.ErrFailed)
	}
	awaitForks()
	_, err := backbone.Open(backbone.Config{Dir: dir, MinFree: 4 << 20})
	if !errors.Is(err, backbone.ErrFull) {
		t.Errorf("open on the full disk: got %v, want %v", err, backbone.ErrFull)
	}
	t.Log(err)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	again := open(t, backbone.Config{Dir: dir, MinFree: 1})
	info, err := again.Info(t.Context(), backbone.Up)
	if want := uint64(len(first)) + more; err != nil || info.First != 1 || info.Messages < want {
		t.Errorf("after the restart: got %+v, %v, want at least %d messages", info, err, want)
	}
	if got := publish(t, again, numbered(30)...)[29]; got.err != nil || got.seq != info.Last+30 {
		t.Errorf("publish after the restart: got %+v, want sequence %d", got, info.Last+30)
	}
}

// fillDisk writes zeroes until only leave bytes are free.
func fillDisk(t *testing.T, path string, leave int64) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &fs); err != nil {
		t.Fatal(err)
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	if err := os.WriteFile(path, make([]byte, free-leave), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTrimOnAFullDisk: a stream is not trimmed while the disk takes nothing, which would block it for ever, and is once there is room.
func TestTrimOnAFullDisk(t *testing.T) {
	disk := smallDisk(t, "48m")
	b := open(t, backbone.Hurried(backbone.Config{Dir: filepath.Join(disk, "data"), MinFree: 16 << 20}))
	k := bucket(t, b, "vehicles")
	if _, err := k.Put(t.Context(), "car", []byte("one")); err != nil {
		t.Fatal(err)
	}
	publish(t, b, bulk(1000)...)
	ballast := filepath.Join(disk, "ballast")
	fillDisk(t, ballast, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if n, err := b.Trim(ctx, backbone.Low, 900); n != 0 || !errors.Is(err, backbone.ErrFull) {
		t.Errorf("on a full disk: got %d deleted and %v, want %v", n, err, backbone.ErrFull)
	}
	if err := k.Erase(ctx, "car"); !errors.Is(err, backbone.ErrFull) {
		t.Errorf("erase on a full disk: got %v, want %v", err, backbone.ErrFull)
	}
	if err := os.Truncate(ballast, 14<<20); err != nil {
		t.Fatal(err)
	}
	until(t, "room", func() bool { return publish(t, b, bulk(1)...)[0].err == nil })
	if n, err := b.Trim(ctx, backbone.Low, 900); n == 0 || err != nil {
		t.Errorf("with room again: got %d deleted and %v, want some", n, err)
	}
	if err := k.Erase(ctx, "car"); err != nil {
		t.Errorf("erase with room again: %v", err)
	}
}
