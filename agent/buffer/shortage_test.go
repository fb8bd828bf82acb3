package buffer_test

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// TestNoRoomTable lets each file operation find no room once, before and after it was done. There is room
// in truth, so nothing is given up and no step fails. An error of another kind is not answered with evictions.
func TestNoRoomTable(t *testing.T) {
	if testing.Short() {
		t.Skip("tries every step in turn, which is slow under the race detector; other tests of the package run side by side")
	}
	for errno, step := range map[syscall.Errno]int{syscall.ENOSPC: 1, syscall.EDQUOT: 4, syscall.EFBIG: 4, syscall.EIO: 2} {
		for n := 1; ; n += step {
			reached := false
			for _, done := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d operation %d done %v", errno, n, done), func(t *testing.T) {
					reached = runShortage(t, errno, n, done) || reached
				})
			}
			if !reached {
				break
			}
		}
	}
}

func runShortage(t *testing.T, errno syscall.Errno, n int, done bool) bool {
	c := buffer.Config{Dir: memoryDir(t), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	count, failed, opened := 0, "", false
	b, err := buffer.OpenFaulty(c, func(op string, after bool) error {
		if !opened {
			return nil
		}
		if !after {
			count++
		}
		if count == n && after == done && failed == "" {
			failed = op
			return &os.PathError{Op: op, Path: "x", Err: errno}
		}
		return nil
	})
	must(t, err)
	opened = true
	defer b.Close() //nolint:errcheck // closed below, or the test has failed
	m := newModel()
	curable := errno == syscall.ENOSPC || errno == syscall.EDQUOT
	for i, s := range scenario() {
		m.ack(s.ack)
		err := apply(t, b, s)
		if err != nil {
			if curable || !errors.Is(err, errno) {
				t.Fatalf("step %d (%s failed): got %v", i, failed, err)
			}
			if got := errors.Is(err, buffer.ErrFull); got != (errno == syscall.EFBIG) {
				t.Fatalf("step %d (%s failed): got %v", i, failed, err)
			}
			err = apply(t, b, s)
		}
		must(t, err)
		m.commit(s)
		if got, want := observe(t, b), m.describe(); got != want {
			t.Fatalf("step %d (%s failed):\ngot  %s\nwant %s", i, failed, got, want)
		}
	}
	if got := b.Stats().EvictedRecords; got != 0 {
		t.Errorf("%d records were evicted", got)
	}
	if got, want := crash(t, c.Dir), m.crashed().describe(); got != want {
		t.Fatalf("crash in the end (%s failed):\ngot  %s\nwant %s", failed, got, want)
	}
	must(t, b.Close())
	return failed != ""
}

// TestCrashWhileMakingRoom looks at the directory as a crash would leave it before and after each file
// operation of commits on a full disk: nothing that was committed is missing without being declared.
func TestCrashWhileMakingRoom(t *testing.T) {
	d := newSmallDisk(t, 1<<20)
	looking, looked := false, 0
	look := func(string, bool) error {
		if looking {
			looked++
			looking = false // the copy has file operations of its own
			b := open(t, buffer.Config{Dir: copyDir(t, d.config.Dir), MaxBytes: d.config.MaxBytes})
			d.addUpOf(b)
			must(t, b.Close())
			looking = true
		}
		return nil
	}
	var err error
	d.b, err = buffer.OpenFaulty(d.config, look)
	must(t, err)
	t.Cleanup(func() { _ = d.b.Close() })
	for d.b.Stats().Shortages == 0 {
		d.append(protocol.CS1, 1, 20_000)
		d.append(protocol.CS4, 1, 200)
	}
	looking = true
	for range 6 {
		d.append(protocol.CS1, 1, 20_000)
		d.append(protocol.CS4, 1, 200)
	}
	if looking = false; looked < 40 {
		t.Errorf("looked at %d states, want at least 40", looked)
	}
	d.addUp()
}
