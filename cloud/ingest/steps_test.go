package ingest_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/cloud/lake"
	"telltale.dev/protocol"
)

// snapped is a lake that copies its folder before and after each commit.
type snapped struct {
	*lake.Lake
	dir  string
	copy func(name string)
	n    int
}

func (s *snapped) Commit(last, next uint64, ledger []byte) error {
	s.n++
	s.copy(fmt.Sprintf("%03d before", s.n))
	err := s.Lake.Commit(last, next, ledger)
	_, _, _ = s.Lake.Checkpoint() // waits for a fold
	s.copy(fmt.Sprintf("%03d after", s.n))
	return err
}

// filesOf lists the parts and the checkpoint's files in a folder.
func filesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, pattern := range []string{"checkpoint-*", "date=*/part-*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			names = append(names, strings.TrimPrefix(f, dir+string(filepath.Separator)))
		}
	}
	return names
}

func copyTo(t *testing.T, from string, names []string, to string) {
	t.Helper()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashBetween ends the process in every state that the folder has in a commit: with none, some and all of its
// parts, with its link of the checkpoint and before anybody was told, and with a checkpoint that is folded but
// whose links are there still. From each of them all batches get into the lake once, and the ledger is the
// one of a run without an end.
func TestCrashBetween(t *testing.T) {
	const rounds = 68 // more commits than are folded
	b := newBench(t)
	states := t.TempDir()
	b.config = func(c *ingest.ProcessorConfig) {
		c.Lake = &snapped{Lake: c.Lake.(*lake.Lake), dir: b.dir, copy: func(name string) {
			copyTo(t, b.dir, filesOf(t, b.dir), filepath.Join(states, name))
		}}
	}
	p, stop := b.start()
	seq := uint64(0)
	for round := range rounds {
		if round == 4 { // until after midnight: a commit with two dates
			for ; seq < 12; seq++ {
				b.maker.send(b.up, 2*seq+1)
			}
		}
		b.maker.send(b.up, 2*seq+1)
		if round%7 == 0 {
			b.maker.send(b.up, 2*seq+1)
		}
		seq++
		b.flush(p)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	want, accounts := stored(t, b.dir), p.Accounts("")
	if len(want) != int(seq) {
		t.Fatalf("got %d batches, want %d", len(want), seq)
	}
	_, all := committed(t, b.dir)
	if string(all) != string(p.Ledger().Snapshot()) {
		t.Fatal("the chain is not the ledger")
	}
	state := func(n int, when string) (string, []string) {
		dir := filepath.Join(states, fmt.Sprintf("%03d %s", n, when))
		return dir, filesOf(t, dir)
	}
	isPart := func(name string) bool { return strings.HasPrefix(name, "date=") }
	for _, n := range []int{1, 2, 5, 30, 63, 66, rounds} {
		_, old := state(n, "before")
		dir, all := state(n, "after")
		parts := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !isPart(name) || slices.Contains(old, name) })
		if want := map[bool]int{true: 2, false: 1}[n == 5]; len(parts) != want {
			t.Fatalf("commit %d made %v, want %d parts", n, parts, want)
		}
		left := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !slices.Contains(old, name) })
		for k := range len(parts) + 1 {
			checkGoesOn(t, b, want, accounts, dir, slices.Concat(left, parts[:k]))
		}
		checkGoesOn(t, b, want, accounts, dir, all)
	}
	// A fold that ended between its base and the removal of its links.
	dir, all64 := state(64, "before")
	folded := t.TempDir()
	copyTo(t, dir, all64, folded)
	dir, last := state(rounds, "after")
	if slices.Contains(last, "checkpoint-UP-0-1") {
		t.Fatal("it is not folded after so many commits")
	}
	copyTo(t, dir, last, folded)
	checkGoesOn(t, b, want, accounts, folded, filesOf(t, folded))
}

// checkGoesOn starts on some files of a folder, and finds everything in the lake once in the end.
func checkGoesOn(t *testing.T, from *bench, want map[string]int, accounts []ledger.Account, dir string, names []string) {
	t.Helper()
	b := newBench(t)
	copyTo(t, dir, names, b.dir)
	b.up = from.up
	known := ledger.New(ledger.Bounds{})
	if _, all := committed(t, b.dir); known.Restore(all) != nil {
		t.Fatalf("%v: the checkpoint is not the ledger's alone", names)
	}
	have := stored(t, b.dir)
	for _, a := range known.Accounts("") {
		for _, s := range a.Received {
			for seq := s.From; seq <= s.To; seq++ {
				id := protocol.MessageID{Device: a.Device, Boot: a.Boot, Seq: seq}
				if have[string(a.Vehicle)+"/"+id.String()] == 0 {
					t.Fatalf("%v: message %v is known and has no rows", names, id)
				}
			}
		}
	}
	p, stop := b.start()
	b.flush(p)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, b.dir); !maps.Equal(got, want) {
		t.Fatalf("%v: got rows of %d batches, want %d", names, len(got), len(want))
	}
	checkAccounts(t, p.Accounts(""), accounts)
}
