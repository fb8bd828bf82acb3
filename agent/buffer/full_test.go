package buffer_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// expect checks that CS1 holds 1 (or 2) to last, CS4 the same, and the account says last.
func expect(b *buffer.Buffer, last uint64) error {
	for _, class := range []protocol.Priority{protocol.CS1, protocol.CS4} {
		entries, err := b.Read(buffer.Position{}, class, 10_000, 0)
		if err != nil {
			return err
		}
		first := entries[0].Record.ID.Seq % 100_000
		for i, e := range entries {
			if e.Record.ID.Seq%100_000 != first+uint64(i) {
				return fmt.Errorf("%s: record %d has sequence %d", class, i, e.Record.ID.Seq)
			}
		}
		if first > 2 || first+uint64(len(entries))-1 != last {
			return fmt.Errorf("%s: %d records from sequence %d, want up to %d", class, len(entries), first, last)
		}
	}
	if p := b.Boots(); p[0].NextSeq != last+1 {
		return fmt.Errorf("account says %d, want %d", p[0].NextSeq, last+1)
	}
	return nil
}

// lacking skips a test for what this machine lacks; CI must have it.
func lacking(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// TestFileSizeLimit lets the system refuse growth in a child process.
func TestFileSizeLimit(t *testing.T) {
	out, err := childCommand(t, "full", t.TempDir(), 1).Output()
	if err != nil {
		t.Fatalf("child: %v: %s", err, out)
	}
}

// childFull appends under a limit that lets no segment be made, then without it.
func childFull() error {
	signal.Ignore(syscall.SIGXFSZ)
	b, err := buffer.Open(buffer.Config{Dir: os.Getenv(envDir)})
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // the process ends
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	limit.Cur = 40_000
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	r := []buffer.Record{record(protocol.CS1, 1, 30_000), record(protocol.CS4, 100_001, 30_000)}
	for range 3 {
		if err := b.Append(r, progress(1)); !errors.Is(err, buffer.ErrFull) {
			return fmt.Errorf("got %w, want disk full", err)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(os.Getenv(envDir), "cs*")); len(names) > 0 {
		return fmt.Errorf("left over: %s", names)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if err := b.Append(r, progress(1)); err != nil {
		return fmt.Errorf("append with room again: %w", err)
	}
	return expect(b, 1)
}

// childHold holds the directory until it is killed.
func childHold() error {
	b, err := buffer.Open(buffer.Config{Dir: os.Getenv(envDir)})
	if err != nil {
		return err
	}
	fmt.Println("held")
	time.Sleep(time.Hour) // it waits to be killed; the runtime would end a program that waits for itself
	return b.Close()
}
