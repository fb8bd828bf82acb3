package e2e_test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"telltale.dev/simulator/ledger"
)

// sample is what the golden file knows of a row, and what gives rows their order.
type sample struct {
	time int64
	boot string
	seq  int64
	raw  int64
}

// signal names one.
type signal struct{ bus, message, name string }

// golden is what an independent decoder (cantools) found of one signal.
type golden struct {
	samples int
	hash    string // SHA-256 of the raw values in order, 8 bytes little-endian each
}

// TestNoFaults drives the recording without faults: the Parquet files hold
// exactly the samples that an independent decoder found in the log, as our own
// reader and an independent one see them.
func TestNoFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes for some seconds")
	}
	t.Parallel()
	built, dir := programs(t), filepath.Join(t.TempDir(), "data")
	want, total := goldenSignals(t, "rav4")
	cmd := exec.CommandContext(t.Context(), filepath.Join(built, "telltale"), "demo", "--faults", "none", "--speed", "20", "--json", "--data", dir,
		"--log", filepath.Join(recordings, "rav4.log.zst"), "--dbc", "can0="+filepath.Join(recordings, "toyota_new_mc_pt.dbc"),
		"--dbc", "can1="+filepath.Join(recordings, "toyota_adas.dbc"))
	var screen bytes.Buffer
	cmd.Stderr = &screen
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("telltale demo: %v\n%s", err, screen.String())
	}
	var l ledger.Ledger
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &l); err != nil {
		t.Fatalf("last line: %v", err)
	}
	if l.SamplesStored != uint64(total) || l.Lost != 0 || l.Duplicated != 0 || l.FramesUnpowered != 0 || l.FramesDropped != 0 {
		t.Errorf("got %+v, want %d samples stored and no frame missing", l, total)
	}
	lake := filepath.Join(dir, "cloud", "lake")
	t.Run("our reader", func(t *testing.T) { compare(t, ownReader(t, lake), want) })
	t.Run("independent reader", func(t *testing.T) { compare(t, independentReader(t, lake), want) })
}

// goldenSignals reads simulator/recordings/golden/NAME.signals.tsv.
func goldenSignals(t *testing.T, name string) (signals map[signal]golden, total int) {
	t.Helper()
	f, err := os.Open(filepath.Join(recordings, "golden", name+".signals.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan()
	column := map[string]int{}
	for i, title := range strings.Split(lines.Text(), "\t") {
		column[title] = i
	}
	signals = map[signal]golden{}
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		n, err := strconv.Atoi(fields[column["samples"]])
		if err != nil {
			t.Fatal(err)
		}
		signals[signal{fields[column["bus"]], fields[column["message"]], fields[column["signal"]]}] = golden{n, fields[column["sha256_raw"]]}
		total += n
	}
	return signals, total
}

// ownReader reads the lake with parquet-go, as the ledger does.
func ownReader(t *testing.T, lake string) map[signal][]sample {
	t.Helper()
	found := map[signal][]sample{}
	err := ledger.ScanLake(lake, func(_ string, r *ledger.Row) error {
		s := signal{r.Bus, r.Message, r.Signal}
		found[s] = append(found[s], sample{r.Time, r.Boot, r.Seq, r.OnBus()})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// independentReader reads it with hyparquet, which shares no code with ours.
// Its packages are those of cloud/lake/testdata/hyparquet. Without node, npm or
// a registry the test is skipped, except in CI.
func independentReader(t *testing.T, lake string) map[signal][]sample {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	tool := filepath.Join(root, "cloud", "lake", "testdata", "hyparquet")
	if _, err := os.Stat(filepath.Join(tool, "node_modules", "hyparquet")); err != nil {
		cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		cmd.Dir = tool
		if out, err := cmd.CombinedOutput(); err != nil {
			missing("npm ci: %v\n%s", err, out)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", "read.mjs", lake)
	cmd.Dir = tool
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node read.mjs: %v\n%s", err, problems.String())
	}
	found := map[signal][]sample{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t") // time, vid, did, boot, seq, campaign, bus, message, signal, path, value, raw, text, unit
		number := func(column int) int64 {
			v, err := strconv.ParseInt(f[column], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		s := signal{f[6], f[7], f[8]}
		found[s] = append(found[s], sample{number(0), f[3], number(4), number(11)})
	}
	return found
}

// compare holds what a reader found against the golden file. A message may come twice
// within the step of time: then the samples are in the order that package lake promises,
// by time, boot, sequence and place in the file.
func compare(t *testing.T, got map[signal][]sample, want map[signal]golden) {
	t.Helper()
	for _, rows := range got {
		slices.SortStableFunc(rows, inOrder)
	}
	compareOrder(t, got, want)
}

// inOrder is the order that package lake promises, but for the place in the file.
func inOrder(a, b sample) int {
	return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.boot, b.boot), cmp.Compare(a.seq, b.seq))
}

// compareOrder holds samples, in the order in which they are given, against the golden file.
func compareOrder(t *testing.T, got map[signal][]sample, want map[signal]golden) {
	t.Helper()
	for name, g := range want {
		rows := got[name]
		hash := sha256.New()
		for _, r := range rows {
			_ = binary.Write(hash, binary.LittleEndian, r.raw)
		}
		if len(rows) != g.samples || hex.EncodeToString(hash.Sum(nil)) != g.hash {
			t.Errorf("%v: got %d samples with hash %x, want %d with %s", name, len(rows), hash.Sum(nil), g.samples, g.hash)
		}
	}
	for name, rows := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%v: got %d samples, want none", name, len(rows))
		}
	}
}
