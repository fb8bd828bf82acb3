package lake_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
)

// reader gives the folder of a Parquet reader that shares no code with ours, hyparquet or duckdb.
// Its packages are installed once, beside its lock file. Without node, npm or a
// registry the test is skipped, except in CI.
func reader(t *testing.T, name string) string {
	t.Helper()
	missing := func(why string) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	dir := filepath.Join("testdata", name)
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(tool + " is not installed: the lake is not read by an independent reader")
		}
	}
	if installed(dir) {
		return dir
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing("npm ci: " + err.Error() + ": the lake is not read by an independent reader\n" + string(out))
	}
	return dir
}

// installed says whether the packages are those of the lock file.
func installed(dir string) bool {
	lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return false
	}
	done, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	return !errors.Is(err, fs.ErrNotExist) && err == nil && !done.ModTime().Before(lock.ModTime())
}

// independent gives each row that the independent reader finds as its columns in text.
func independent(t *testing.T, lake string) (rows [][]string) {
	t.Helper()
	dir := reader(t, "hyparquet")
	cmd := exec.CommandContext(t.Context(), "node", "read.mjs", lake)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node read.mjs: %v\n%s", err, stderr.String())
	}
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows
}

// TestIndependentReader: another reader finds exactly what was appended.
func TestIndependentReader(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine: nothing for the race detector, under which it is slow")
	}
	dir := t.TempDir()
	reader(t, "hyparquet")
	l := open(t, dir)
	s, b := drive(t)
	appendAll(t, l, s, b)
	if err := l.Commit(1, 2, nil); err != nil {
		t.Fatal(err)
	}
	odd, oddBatch := schema(t), &batches.Batch{Rows: []batches.GroupRows{
		{Group: 0, Time: []int64{1, 2}, Columns: [][]int64{{0, 65535}, {2, 3}}},
		{Group: 1, Time: []int64{1, 2, 3}, Columns: [][]int64{{bitsOf(math.NaN()), bitsOf(math.Inf(-1)), math.MinInt64}}},
	}}
	oddBatch.ID, oddBatch.Schema = protocol.MessageID{Device: "tcu2", Boot: protocol.BootID{2}, Seq: math.MaxInt64}, protocol.SchemaID{2}
	appendAll(t, l, odd, oddBatch)
	wide := many(200_000)
	appendAll(t, l, odd, wide)
	if err := l.Commit(2, 3, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(expected(s, b), expected(odd, oddBatch), expected(odd, wide))
	var got []string
	for _, row := range independent(t, dir) {
		got = append(got, strings.Join(row, "\t"))
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(got) != len(want) {
		t.Fatalf("got %d rows, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("row %d:\n got %q\nwant %q", i, got[i], want[i])
		}
	}
}

// many is a batch with so many different values that a dictionary of them is given up on the way.
func many(n int) *batches.Batch {
	g := batches.GroupRows{Group: 1, Columns: make([][]int64, 1)}
	for i := range n {
		g.Time = append(g.Time, start.UnixMicro()+int64(i))
		g.Columns[0] = append(g.Columns[0], bitsOf(float64(i)/8))
	}
	b := &batches.Batch{Rows: []batches.GroupRows{g}}
	b.ID, b.Schema = protocol.MessageID{Device: "tcu3", Boot: protocol.BootID{3}, Seq: 1}, protocol.SchemaID{2}
	return b
}

func bitsOf(v float64) int64 { return int64(math.Float64bits(v)) }

// expected writes a batch as read.mjs does.
func expected(s *schemas.Schema, b *batches.Batch) (out []string) {
	orNull := func(v string, ok bool) string {
		if !ok {
			return `\N`
		}
		return v
	}
	for i := range b.Rows {
		g := &b.Rows[i]
		for j, member := range s.Groups[g.Group] {
			sig := &s.Signals[member]
			for r, at := range g.Time {
				raw := g.Columns[j][r]
				out = append(out, strings.Join([]string{
					strconv.FormatInt(at, 10), "car1", string(b.ID.Device), b.ID.Boot.String(), strconv.FormatUint(b.ID.Seq, 10),
					string(s.Campaign), sig.Bus, sig.Message, sig.Name, orNull(sig.VSS, sig.VSS != ""),
					number(sig.Physical(raw)), orNull(strconv.FormatInt(raw, 10), sig.IEEE == 0), orNull(sig.Text(raw)), orNull(sig.Unit, sig.Unit != ""),
					orNull(strconv.FormatUint(uint64(raw), 10), sig.IEEE == 64), `\N`, `\N`, `\N`, strconv.FormatInt(start.UnixMicro(), 10),
				}, "\t"))
			}
		}
	}
	return out
}

// number writes v as JavaScript does, for the sizes that occur here.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 0):
		return strings.Replace(strconv.FormatFloat(v, 'g', -1, 64), "Inf", "Infinity", 1)
	case v == 0:
		return "0"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
