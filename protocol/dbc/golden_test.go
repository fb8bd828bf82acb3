package dbc_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

const recordings = "../../simulator/recordings"

// recording is a log with the DBC files of its buses.
type recording struct {
	name  string
	buses []string
	files []string // by bus
	j1939 string   // bus
}

var goldenLogs = []recording{
	{"rav4", []string{"can0", "can1"}, []string{"toyota_new_mc_pt", "toyota_adas"}, ""},
	{"canmod1", []string{"can1", "can2"}, []string{"OBD-v4.4", "canmod-gps"}, ""},
	{"truck1", []string{"can1", "can2"}, []string{"j1939", "canmod-gps"}, "can1"},
}

// TestGolden decodes whole recordings and compares every signal with what an independent decoder read.
func TestGolden(t *testing.T) {
	for _, r := range goldenLogs {
		t.Run(r.name, func(t *testing.T) {
			plan := r.plan(t)
			bus, frames := r.frames(t)
			tallies := tally(plan, bus, frames)
			compareSamples(t, r.name, plan, bus, frames)
			compareSignals(t, r.name, plan, tallies)
		})
	}
}

// plan compiles the recording's DBC files.
func (r recording) plan(t testing.TB) *dbc.Plan {
	t.Helper()
	var sources []dbc.Source
	for i, bus := range r.buses {
		name := r.files[i] + ".dbc"
		text, err := os.ReadFile(filepath.Join(recordings, name))
		if err != nil {
			t.Fatal(err)
		}
		file, problems, err := dbc.Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Log(p)
		}
		sources = append(sources, dbc.Source{Bus: bus, Files: []*dbc.File{file}, J1939: bus == r.j1939})
	}
	plan, problems, err := dbc.Compile(sources)
	if err != nil || len(problems) > 0 {
		t.Fatalf("compile: %v %v", problems, err)
	}
	t.Log(plan)
	return plan
}

// frames reads the recording; bus holds the position of each frame's bus in the plan, −1 for others.
func (r recording) frames(t testing.TB) (bus []int, frames []can.Frame) {
	t.Helper()
	file, err := os.Open(filepath.Join(recordings, r.name+".log.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := zstd.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	for lines := bufio.NewScanner(text); lines.Scan(); {
		var f can.Frame
		name, err := can.ParseCandump(lines.Text(), &f)
		if err != nil {
			t.Fatalf("frame %d: %v", len(frames), err)
		}
		bus = append(bus, slices.Index(r.buses, name))
		frames = append(frames, f)
	}
	return bus, frames
}

// sums is what golden/NAME.signals.tsv says about one signal.
type sums struct {
	samples             int
	first, low, high, Σ float64
	hash                hash.Hash
}

// tally decodes everything and sums it up by global signal index.
func tally(plan *dbc.Plan, bus []int, frames []can.Frame) []sums {
	all := make([]sums, len(plan.Signals()))
	raw := make([]int64, plan.MaxSignals())
	for i := range frames {
		layout, n := plan.Decode(bus[i], &frames[i], raw)
		if layout < 0 {
			continue
		}
		for j, s := range plan.Layouts()[layout].Signals[:n] {
			all[s].add(raw[j], plan.Signals()[s].Physical(raw[j]))
		}
	}
	return all
}

func (s *sums) add(raw int64, v float64) {
	if s.samples++; s.samples == 1 {
		s.first, s.low, s.high, s.hash = v, v, v, sha256.New()
	}
	s.low, s.high = min(s.low, v), max(s.high, v)
	s.Σ += v
	s.hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(raw)))
}

// namesake says that a signal shares its name with another of its message; the golden files leave those out.
func namesake(s *dbc.SignalInfo) bool { return strings.Contains(s.Name, "@") }

// compareSamples compares the first 2000 frames sample by sample.
func compareSamples(t *testing.T, name string, plan *dbc.Plan, bus []int, frames []can.Frame) {
	t.Helper()
	want := map[string]int{}
	for _, row := range table(t, name+".first2000.tsv") {
		physical := number(t, row[4])
		want[fmt.Sprint(row[:4], physical)]++
	}
	raw := make([]int64, plan.MaxSignals())
	total := 0
	for i := range frames[:2000] {
		layout, n := plan.Decode(bus[i], &frames[i], raw)
		if layout < 0 {
			continue
		}
		for j, index := range plan.Layouts()[layout].Signals[:n] {
			s := plan.Signals()[index]
			if namesake(&s) {
				continue
			}
			got := fmt.Sprint([]string{strconv.Itoa(i), s.Message, s.Name, strconv.FormatInt(raw[j], 10)}, s.Physical(raw[j]))
			if want[got]--; want[got] < 0 {
				t.Errorf("got %s, which is not in the golden file", got)
			}
			total++
		}
	}
	for row, n := range want {
		if n > 0 {
			t.Errorf("want %s, not decoded", row)
		}
	}
	t.Logf("%d samples of the first 2000 frames compared", total)
}

// compareSignals compares the sums over the whole recording.
func compareSignals(t *testing.T, name string, plan *dbc.Plan, tallies []sums) {
	t.Helper()
	index := map[string]int{}
	for i, s := range plan.Signals() {
		index[s.Bus+"\t"+s.Message+"\t"+s.Name] = i
	}
	rows := table(t, name+".signals.tsv")
	samples := 0
	for _, row := range rows {
		key := row[0] + "\t" + row[4] + "\t" + row[5]
		i, ok := index[key]
		if !ok {
			t.Errorf("want signal %q, not in the plan", key)
			continue
		}
		got := tallies[i]
		if got.samples == 0 {
			t.Errorf("%s: got no sample, want %s", key, row[7])
			continue
		}
		samples += got.samples
		tallies[i].samples = 0
		if unit := plan.Signals()[i].Unit; unit != row[6] {
			t.Errorf("%s: got unit %q, want %q", key, unit, row[6])
		}
		got.compare(t, key, row)
	}
	for i, s := range plan.Signals() {
		if key := s.Bus + "\t" + s.Message + "\t" + s.Name; tallies[i].samples > 0 && !namesake(&s) {
			t.Errorf("got %d samples of %s, which is not in the golden file", tallies[i].samples, key)
		}
	}
	t.Logf("%d signals with %d samples compared", len(rows), samples)
}

// compare compares with one row of the golden file.
func (s *sums) compare(t *testing.T, key string, row []string) {
	t.Helper()
	got := *s
	if sum := hex.EncodeToString(got.hash.Sum(nil)); strconv.Itoa(got.samples) != row[7] || sum != row[12] {
		t.Errorf("%s: got %d samples %s, want %s samples %s", key, got.samples, sum, row[7], row[12])
	}
	for k, v := range []float64{got.first, got.low, got.high} {
		if want := number(t, row[8+k]); v != want {
			t.Errorf("%s: got %s %v, want %v", key, []string{"first", "min", "max"}[k], v, want)
		}
	}
	mean, want := got.Σ/float64(got.samples), number(t, row[11])
	if math.Abs(mean-want) > 1e-9*max(1, math.Abs(want)) { // they sum in another order
		t.Errorf("%s: got mean %v, want %v", key, mean, want)
	}
}

// table reads a golden file without its heading.
func table(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(recordings, "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")[1:] {
		rows = append(rows, strings.Split(line, "\t"))
	}
	return rows
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
