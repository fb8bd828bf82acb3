package lake_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale.dev/cloud/lake"
	"telltale.dev/protocol/batches"
)

var errFault = errors.New("fault")

// faults is every step of a commit that writes two dates.
var faults = []struct {
	step  string
	times int  // the fault comes at the n-th time
	kept  bool // the commit counts although the process ended here
}{
	{"part written", 1, false},
	{"part written", 2, false},
	{"part synced", 1, false},
	{"part synced", 2, false},
	{"part renamed", 1, false},
	{"part renamed", 2, false},
	{"dates synced", 1, false},
	{"link written", 1, false},
	{"link synced", 1, false},
	{"link renamed", 1, true},
}

// TestCommitFaults lets the second of three commits go wrong behind each step,
// once with a process that goes on and once with one that ends there.
func TestCommitFaults(t *testing.T) {
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	s := schema(t)
	message := func(seq uint64) *batches.Batch {
		return batch(seq, midnight.Add(time.Duration(seq)*time.Second-2500*time.Millisecond), 1000)
	}
	for _, tt := range faults {
		for _, crash := range []bool{false, true} {
			name := fmt.Sprint(tt.step, " ", tt.times) + map[bool]string{false: ", goes on", true: ", ends"}[crash]
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				w := open(t, dir)
				appendAll(t, w, s, message(1))
				if err := w.Commit(1, 2, []byte("1")); err != nil {
					t.Fatal(err)
				}
				left := tt.times
				w.OnStep(func(step string) error {
					if step == tt.step {
						if left--; left == 0 {
							return errFault
						}
					}
					return nil
				})
				appendAll(t, w, s, message(2))
				if err := w.Commit(2, 3, []byte("2")); !errors.Is(err, errFault) {
					t.Fatalf("got %v, want the fault", err)
				}
				checkOnce(t, dir, 2)
				if crash {
					w = open(t, dir)
				} else if err := w.Append("car1", s.Campaign, "", start, s, message(3)); !errors.Is(err, lake.ErrUncommitted) {
					t.Fatalf("append between: got %v, want ErrUncommitted", err)
				}
				last, ledger := newestOf(t, w)
				if want := map[bool]uint64{false: 1, true: 2}[crash && tt.kept]; last != want || ledger != string('0'+rune(want)) {
					t.Fatalf("checkpoint: got %d %q, want %d", last, ledger, want)
				}
				if crash && last == 1 {
					checkOnce(t, dir, 1)
					appendAll(t, w, s, message(2))
				}
				if last == 1 {
					if err := w.Commit(2, 3, []byte("2")); err != nil {
						t.Fatal(err)
					}
				}
				appendAll(t, w, s, message(3))
				if err := w.Commit(3, 4, []byte("3")); err != nil {
					t.Fatal(err)
				}
				checkWhole(t, dir, 3)
			})
		}
	}
}

// checkOnce finds no row twice, and none of a message that was not sent.
func checkOnce(t *testing.T, dir string, messages int64) map[int64]int {
	t.Helper()
	type key struct {
		seq    int64
		at     int64
		signal string
	}
	seen, count := map[key]bool{}, map[int64]int{}
	for _, r := range read(t, dir) {
		k := key{r.Seq, r.Time.UnixMicro(), r.Signal}
		if seen[k] || r.Seq > messages {
			t.Fatalf("row %v is there twice, or too early", k)
		}
		seen[k] = true
		count[r.Seq]++
	}
	return count
}

// checkWhole finds all 2000 rows of each message once, and nothing unfinished.
func checkWhole(t *testing.T, dir string, messages int64) {
	t.Helper()
	count := checkOnce(t, dir, messages)
	for seq := int64(1); seq <= messages; seq++ {
		if count[seq] != 2000 {
			t.Errorf("message %d: got %d rows, want 2000", seq, count[seq])
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, ".tmp"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: got %v %v, want nothing", left, err)
	}
}

// TestDiskFull meets a real ENOSPC while parts and checkpoint are written.
func TestDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	for _, name := range []string{"part-UP-1-1.parquet.date=2026-11-23", "checkpoint-UP.link"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := open(t, dir)
			full := filepath.Join(dir, ".tmp", name)
			if err := os.Symlink("/dev/full", full); err != nil {
				t.Fatal(err)
			}
			appendAll(t, w, schema(t), batch(1, start, 1000))
			for range 2 {
				err := w.Commit(1, 2, nil)
				if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), dir) {
					t.Fatalf("got %v, want no space left, without folders", err)
				}
			}
			if err := os.Remove(full); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(1, 2, nil); err != nil {
				t.Fatal(err)
			}
			checkWhole(t, dir, 1)
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	write := func(t *testing.T, dir, name string, data []byte) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		oldest uint64
		files  map[string][]byte
	}{
		{"parts without checkpoint", 1, map[string][]byte{"date=2026-11-23/part-UP-1-9.parquet": {1}}},
		{"part across the checkpoint", 1, map[string][]byte{
			"checkpoint-UP": lake.AppendCheckpoint("UP", 0, 5, nil), "date=2026-11-23/part-UP-4-9.parquet": {1}}},
		{"older checkpoint than the stream can make good", 7, map[string][]byte{
			"checkpoint-UP": lake.AppendCheckpoint("UP", 0, 5, nil), "date=2026-11-23/part-UP-6-9.parquet": {1}}},
		{"checkpoint of another stream", 1, map[string][]byte{"checkpoint-UP": lake.AppendCheckpoint("LOW", 0, 5, nil)}},
		{"checkpoint damaged", 1, map[string][]byte{"checkpoint-UP": append(lake.AppendCheckpoint("UP", 0, 5, nil), 0)}},
		{"checkpoint empty", 1, map[string][]byte{"checkpoint-UP": {}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range tt.files {
				write(t, dir, name, data)
			}
			_, err := lake.Open(lake.Config{Dir: dir, Stream: "UP", Oldest: tt.oldest})
			if !errors.Is(err, lake.ErrCheckpoint) || strings.Contains(err.Error(), dir) {
				t.Fatalf("got %v, want ErrCheckpoint, without folders", err)
			}
			for name := range tt.files {
				if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
					t.Errorf("%s is gone", name)
				}
			}
		})
	}
	if _, err := lake.Open(lake.Config{Dir: t.TempDir(), Stream: "a-b"}); err == nil {
		t.Error("stream a-b: got no error")
	}
}

// TestOpenLeavesOthers: another stream's files and what is no part are not touched.
func TestOpenLeavesOthers(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	keep := []string{"date=2026-11-23/part-LOW-1-9.parquet", "date=2026-11-23/notes.txt", ".tmp/part-LOW-1-9.parquet.date=2026-11-23", "README"}
	gone := []string{"date=2026-11-23/part-UP-1-9.parquet", ".tmp/part-UP-1-9.parquet.date=2026-11-23", ".tmp/checkpoint-UP", ".tmp/checkpoint-UP.link", ".tmp/checkpoint-UP.base"}
	for _, name := range slices.Concat(keep, gone) {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w := open(t, dir)
	if got := w.Stats().Removed; got != uint64(len(gone)) {
		t.Errorf("removed: got %d, want %d", got, len(gone))
	}
	for _, name := range keep {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range gone {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

// newestOf is the position of the checkpoint and what the newest commit was given.
func newestOf(t *testing.T, l *lake.Lake) (last uint64, ledger string) {
	t.Helper()
	last, ledgers, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ledgers); n > 0 {
		ledger = string(ledgers[n-1])
	}
	return last, ledger
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(lake.AppendCheckpoint("UP", 0, 1, []byte("ledger")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		if after, last, next, ledger, err := lake.ParseCheckpoint(in, "UP"); err == nil && next == last+1 &&
			bytes.HasPrefix(in, []byte("TTLAKE2")) && !bytes.Equal(lake.AppendCheckpoint("UP", after, last, ledger), in) {
			t.Fatalf("%x is read as %d %d %x, which is written otherwise", in, after, last, ledger)
		}
		n := uint64(len(in))
		after, last, next, ledger, err := lake.ParseCheckpoint(lake.AppendCheckpoint("UP", n, 2*n, in), "UP")
		if err != nil || after != n || last != 2*n || next != last+1 || !bytes.Equal(ledger, in) {
			t.Fatalf("got %d %d %d %x %v, want what was written", after, last, next, ledger, err)
		}
	})
}
