package lake_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale.dev/cloud/lake"
)

// openJoined opens a lake whose ledger is all that commits were given, one behind the other.
func openJoined(t *testing.T, dir string, oldest uint64, said *bytes.Buffer) (*lake.Lake, error) {
	t.Helper()
	cfg := lake.Config{Dir: dir, Stream: "UP", Oldest: oldest, Fold: func(all ...[]byte) ([]byte, error) { return bytes.Join(all, nil), nil }}
	if said != nil {
		cfg.Log = slog.New(slog.NewTextHandler(said, nil))
	}
	return lake.Open(cfg)
}

// hasRows says which messages have rows, so that many commits are soon done.
func hasRows(seq uint64) bool { return seq <= 8 || seq%16 == 0 }

// commitUpTo commits message by message, each with a word for the ledger.
func commitUpTo(t *testing.T, l *lake.Lake, last uint64) {
	t.Helper()
	at, _, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	s := schema(t)
	for seq := at + 1; seq <= last; seq++ {
		if hasRows(seq) {
			appendAll(t, l, s, batch(seq, start, 1))
		}
		if err := l.Commit(seq, seq+1, fmt.Appendf(nil, "%d,", seq)); err != nil {
			t.Fatal(err)
		}
	}
}

// checkJoined finds in the checkpoint what all commits up to last were given.
func checkJoined(t *testing.T, l *lake.Lake, last uint64) {
	t.Helper()
	at, ledgers, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for seq := uint64(1); seq <= last; seq++ {
		want += fmt.Sprintf("%d,", seq)
	}
	if got := string(bytes.Join(ledgers, nil)); at != last || got != want {
		t.Fatalf("checkpoint: got %d %s, want %d %s", at, got, last, want)
	}
}

// checkpointFiles are those of the stream's chain.
func checkpointFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "checkpoint-UP*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, filepath.Base(f))
	}
	slices.Sort(names)
	return names
}

// TestFold commits so often that the chain is folded several times, and reads it back after each.
func TestFold(t *testing.T) {
	dir := t.TempDir()
	const commits = 3 * lake.FoldLinks
	for last := uint64(1); last <= commits; last += lake.FoldLinks / 2 {
		l, err := openJoined(t, dir, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkJoined(t, l, last-1)
		commitUpTo(t, l, last-1+lake.FoldLinks/2)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(checkpointFiles(t, dir)); n > 1+lake.FoldLinks {
			t.Errorf("after %d commits there are %d files", last, n)
		}
	}
	l, err := openJoined(t, dir, commits+1, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkJoined(t, l, commits)
	checkRowsOnce(t, dir, commits)
}

// checkRowsOnce finds both rows of each message that has them once.
func checkRowsOnce(t *testing.T, dir string, messages int64) {
	t.Helper()
	count := checkOnce(t, dir, messages)
	for seq := int64(1); seq <= messages; seq++ {
		if want := map[bool]int{true: 2}[hasRows(uint64(seq))]; count[seq] != want {
			t.Errorf("message %d: got %d rows, want %d", seq, count[seq], want)
		}
	}
}

// TestFoldFaults lets a fold go wrong behind each step, once with a process that goes on and once with one
// that ends there. The checkpoint says the same all the time.
func TestFoldFaults(t *testing.T) {
	for _, step := range []string{"base written", "base synced", "base renamed", "links removed"} {
		for _, ends := range []bool{false, true} {
			t.Run(fmt.Sprint(step, " ends ", ends), func(t *testing.T) {
				dir := t.TempDir()
				l, err := openJoined(t, dir, 0, nil)
				if err != nil {
					t.Fatal(err)
				}
				l.OnStep(func(at string) error {
					if at == step {
						return errFault
					}
					return nil
				})
				commitUpTo(t, l, lake.FoldLinks)
				checkJoined(t, l, lake.FoldLinks) // when the fold has failed
				if ends {
					if l, err = openJoined(t, dir, lake.FoldLinks+1, nil); err != nil {
						t.Fatal(err)
					}
					checkJoined(t, l, lake.FoldLinks)
				} else {
					l.OnStep(nil)
				}
				commitUpTo(t, l, 2*lake.FoldLinks)
				checkJoined(t, l, 2*lake.FoldLinks)
				if n := len(checkpointFiles(t, dir)); n > lake.FoldLinks {
					t.Errorf("there are %d files, want it to be folded by now", n)
				}
				checkRowsOnce(t, dir, 2*lake.FoldLinks)
			})
		}
	}
}

// TestFoldTooLarge: a base that the next start would refuse to read is not written, the links stay, and the log says so once.
func TestFoldTooLarge(t *testing.T) {
	dir, said := t.TempDir(), &bytes.Buffer{}
	l, err := openJoined(t, dir, 0, said)
	if err != nil {
		t.Fatal(err)
	}
	const commits = 2 * lake.FoldLinks
	l.BoundFiles(200) // a link has less, a base of so many commits more
	commitUpTo(t, l, commits/2)
	checkJoined(t, l, commits/2)
	commitUpTo(t, l, commits)
	checkJoined(t, l, commits)
	if n := len(checkpointFiles(t, dir)); n != 1+commits {
		t.Errorf("got %d files, want the base and all %d links", n, commits)
	}
	if n := strings.Count(said.String(), "level=ERROR"); n != 1 {
		t.Errorf("got %d errors, want one:\n%s", n, said)
	}
	if err := l.Commit(commits+1, commits+2, bytes.Repeat([]byte("a"), 200)); err == nil || strings.Contains(err.Error(), dir) {
		t.Errorf("a commit of as much: got %v, want an error without folders", err)
	}
	if l, err = openJoined(t, dir, commits+1, nil); err != nil {
		t.Fatal(err)
	}
	checkJoined(t, l, commits)
	checkRowsOnce(t, dir, commits)
}

// TestBrokenLink: a checkpoint whose end cannot be read goes on where it can, if the stream can be read again from there;
// else it is refused, says which file it is about, and nothing is touched.
func TestBrokenLink(t *testing.T) {
	garble := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 4
			if err := os.WriteFile(path, data, 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	swap := func(t *testing.T, dir string) {
		if err := os.Rename(filepath.Join(dir, "checkpoint-UP-2-3"), filepath.Join(dir, "checkpoint-UP-1-2")); err != nil {
			t.Fatal(err)
		}
	}
	empty := func(t *testing.T, dir string) {
		if err := os.WriteFile(filepath.Join(dir, "checkpoint-UP-3-4"), nil, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		harm   func(*testing.T, string)
		file   string // that the error or the log names
		oldest uint64 // of the stream
		last   uint64 // of the checkpoint that is left; 0: refused
	}{
		{"newest garbled", garble("checkpoint-UP-3-4"), "checkpoint-UP-3-4", 4, 3},
		{"newest garbled, stream trimmed", garble("checkpoint-UP-3-4"), "checkpoint-UP-3-4", 5, 0},
		{"newest empty", empty, "checkpoint-UP-3-4", 1, 3},
		{"one between garbled", garble("checkpoint-UP-1-2"), "checkpoint-UP-1-2", 2, 1},
		{"one between garbled, stream trimmed", garble("checkpoint-UP-1-2"), "checkpoint-UP-1-2", 3, 0},
		{"one between missing", remove("checkpoint-UP-1-2"), "checkpoint-UP-2-3", 1, 1},
		{"one between missing, stream trimmed", remove("checkpoint-UP-1-2"), "checkpoint-UP-2-3", 3, 0},
		{"one under another name", swap, "checkpoint-UP-1-2", 1, 1},
		{"newest missing", remove("checkpoint-UP-3-4"), "", 4, 3},
		{"newest missing, stream trimmed", remove("checkpoint-UP-3-4"), "checkpoint-UP", 5, 0},
		{"base garbled", garble("checkpoint-UP"), "checkpoint-UP", 1, 0},
		{"base missing", remove("checkpoint-UP"), "checkpoint-UP", 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := openJoined(t, dir, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			commitUpTo(t, l, 4)
			tt.harm(t, dir)
			before := slices.Concat(checkpointFiles(t, dir), parts(t, dir))
			var said bytes.Buffer
			l, err = openJoined(t, dir, tt.oldest, &said)
			if tt.last == 0 {
				if !errors.Is(err, lake.ErrCheckpoint) || !strings.Contains(err.Error(), tt.file) || strings.Contains(err.Error(), dir) {
					t.Fatalf("got %v, want ErrCheckpoint about %s, without folders", err, tt.file)
				}
				if after := slices.Concat(checkpointFiles(t, dir), parts(t, dir)); !slices.Equal(after, before) {
					t.Errorf("files: got %v, want %v", after, before)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkJoined(t, l, tt.last)
			checkRowsOnce(t, dir, int64(tt.last))
			if tt.file != "" && (strings.Count(said.String(), "level=ERROR") != 1 || !strings.Contains(said.String(), tt.file)) {
				t.Errorf("said %q, want one error about %s", said.String(), tt.file)
			}
			commitUpTo(t, l, 6)
			said.Reset()
			if l, err = openJoined(t, dir, 7, &said); err != nil {
				t.Fatal(err)
			}
			checkJoined(t, l, 6)
			checkRowsOnce(t, dir, 6)
			if said.Len() > 0 {
				t.Errorf("the next start said %q, want nothing", said.String())
			}
		})
	}
}

// TestOpenPositions: of messages that were open at the commit the stream must have all, or parts beyond cannot be made again.
func TestOpenPositions(t *testing.T) {
	for _, oldest := range []uint64{3, 4} {
		dir := t.TempDir()
		l, err := openJoined(t, dir, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := schema(t)
		for seq := range uint64(2) {
			appendAll(t, l, s, batch(seq+1, start, 1))
			if err := l.Commit(5+seq, 3, nil); err != nil { // message 3 waits behind those that are done
				t.Fatal(err)
			}
		}
		if err := os.Remove(filepath.Join(dir, "checkpoint-UP-5-6")); err != nil {
			t.Fatal(err)
		}
		_, err = openJoined(t, dir, oldest, nil)
		if refused := errors.Is(err, lake.ErrCheckpoint); refused != (oldest > 3) {
			t.Errorf("stream from %d on: got %v", oldest, err)
		}
	}
}
