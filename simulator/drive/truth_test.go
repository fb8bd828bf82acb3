package drive_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
)

// drives are the recordings with their DBC files; decodable is from recordings/README.md, in percent.
var drives = []struct {
	name      string
	sources   map[string]string
	j1939     string
	decodable float64
}{
	{"rav4", map[string]string{"can0": "toyota_new_mc_pt", "can1": "toyota_adas"}, "", 78.9},
	{"canmod1", map[string]string{"can1": "OBD-v4.4", "can2": "canmod-gps"}, "", 98.4},
	{"truck1", map[string]string{"can1": "j1939", "can2": "canmod-gps"}, "can1", 93.6},
}

func source(t testing.TB, bus, file string, j1939 bool) dbc.Source {
	t.Helper()
	text, err := os.ReadFile(recordings + file + ".dbc")
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := dbc.Parse(file+".dbc", text)
	if err != nil {
		t.Fatal(err)
	}
	return dbc.Source{Bus: bus, Files: []*dbc.File{f}, J1939: j1939}
}

func compile(t testing.TB, sources []dbc.Source) *dbc.Plan {
	t.Helper()
	plan, _, err := dbc.Compile(sources)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// golden reads the number of samples of each signal as an independent decoder counted them.
func golden(t testing.TB, name string) map[string]uint64 {
	t.Helper()
	f, err := os.Open(recordings + "golden/" + name + ".signals.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	counts := map[string]uint64{}
	lines := bufio.NewScanner(f)
	lines.Scan()
	for lines.Scan() {
		field := strings.Split(lines.Text(), "\t")
		n, err := strconv.ParseUint(field[7], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		counts[field[0]+" "+field[4]+" "+field[5]] += n
	}
	return counts
}

// longMessages is how many messages of more than 8 bytes truck1 has that j1939.dbc knows.
const longMessages = 25

// longSignals gives message and signal of what comes in parts; see recordings/README.md.
func longSignals(t testing.TB, name string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(recordings + "golden/" + name + ".long.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		field := strings.Split(line, "\t")
		names = append(names, field[1]+" "+field[2])
	}
	names = slices.Compact(slices.Sorted(slices.Values(names[1:])))
	return names
}

// TestTruthIsGolden plays the recordings and compares the truth with an independent decoder's count.
func TestTruthIsGolden(t *testing.T) {
	for _, d := range drives {
		t.Run(d.name, func(t *testing.T) {
			var sources []dbc.Source
			for bus, file := range d.sources {
				sources = append(sources, source(t, bus, file, bus == d.j1939))
			}
			plan := compile(t, sources)
			truth := drive.NewTruth(plan)
			h := hub(t, virtual.Config{Tap: truth.Add})
			l := scan(t, recordings+d.name+".log.zst")
			if err := player(t, drive.PlayerConfig{Log: l, Hub: h}).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			all := truth.All()
			if all.Frames != l.Counts.Frames || all.Frames != all.Decoded+all.Unknown {
				t.Errorf("got %+v for %d frames", all, l.Counts.Frames)
			}
			if got := 100 * float64(all.Decoded) / float64(all.Frames); fmt.Sprintf("%.1f", got) != fmt.Sprintf("%.1f", d.decodable) {
				t.Errorf("got %.2f %% decoded, want %.1f", got, d.decodable)
			}
			want, got, total := golden(t, d.name), map[string]uint64{}, uint64(0)
			if d.j1939 != "" {
				for _, name := range longSignals(t, d.name) { // the independent decoder knows frames only
					want[d.j1939+" "+name] = longMessages
				}
			}
			for bus := range d.sources {
				for i, n := range truth.Signals(bus, virtual.Range{End: truth.Frames(bus)}) {
					s := plan.Signals()[i]
					name := s.Bus + " " + s.Message + " " + s.Name
					total += n
					if n > 0 && !strings.Contains(s.Name, "@") { // the golden files leave out namesakes within a message
						got[name] += n
					}
				}
			}
			if total != all.Samples {
				t.Errorf("got %d samples by signal, %d in all", total, all.Samples)
			}
			for name, n := range want {
				if got[name] != n {
					t.Errorf("%s: got %d samples, want %d", name, got[name], n)
				}
				delete(got, name)
			}
			if len(got) > 0 {
				t.Errorf("got signals that the golden file does not have: %v", got)
			}
		})
	}
}

// TestTruthOfStretches compares sums over stretches with a plain decoding of the same frames.
func TestTruthOfStretches(t *testing.T) {
	plan := compile(t, []dbc.Source{source(t, "can0", "toyota_new_mc_pt", false)})
	truth := drive.NewTruth(plan)
	r, err := drive.Open(recordings + "rav4.log.zst")
	if err != nil {
		t.Fatal(err)
	}
	log, err := readAll(t, r)
	if err != nil {
		t.Fatal(err)
	}
	var frames []can.Frame
	for i := range log {
		if log[i].Bus == "can0" {
			frames = append(frames, log[i].Frame)
		}
	}
	for at := 0; at < len(frames); at += 777 {
		truth.Add("can0", uint64(at), frames[at:min(at+777, len(frames))])
	}
	truth.Add("can9", 0, frames[:10])
	if got := truth.Sum("can9", virtual.Range{End: 99}); got != (drive.Sum{Frames: 10, Unknown: 10}) {
		t.Errorf("bus without DBC: got %+v", got)
	}
	raw := make([]int64, plan.MaxSignals())
	random := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		first := random.IntN(len(frames))
		end := first + random.IntN(len(frames)-first+1)
		want := drive.Sum{Frames: uint64(end - first)}
		for i := end - 1; i >= first; i-- { // any order
			layout, n := plan.Decode(0, &frames[i], raw)
			if layout == dbc.Unknown {
				want.Unknown++
				continue
			}
			want.Decoded++
			want.Samples += uint64(n)
			for k := range n {
				s := plan.Signals()[plan.Layouts()[layout].Signals[k]]
				want.Checksum += drive.SampleSum(drive.SignalKey(s.Bus, s.Message, s.Name), frames[i].Time/1000, raw[k])
			}
		}
		middle := uint64(first+end) / 2
		got := truth.Sum("can0", virtual.Range{First: uint64(first), End: middle}, virtual.Range{First: middle, End: uint64(end)})
		if got != want {
			t.Fatalf("frames %d to %d: got %+v, want %+v", first, end, got, want)
		}
	}
	all := uint64(len(frames))
	if got := truth.Sum("can0", virtual.Range{First: all - 1, End: all + 100}); got.Frames != 1 {
		t.Errorf("behind the end: got %+v", got)
	}
	if got := truth.Sum("can0", virtual.Range{First: 5, End: 5}, virtual.Range{First: all + 1, End: all + 2}); got != (drive.Sum{}) {
		t.Errorf("empty stretches: got %+v", got)
	}
}

// TestTruthOfLongMessages: a message in parts counts in the stretches that hold all its frames.
func TestTruthOfLongMessages(t *testing.T) {
	file, _, err := dbc.Parse("long.dbc", []byte("BO_ 2566834942 Lamps: 20 X\n SG_ Count : 16|8@1+ (1,0) [0|0] \"\" X\n SG_ Last : 152|8@1+ (1,0) [0|0] \"\" X\n"))
	if err != nil {
		t.Fatal(err)
	}
	truth := drive.NewTruth(compile(t, []dbc.Source{{Bus: "can0", Files: []*dbc.File{file}, J1939: true}}))
	var frames []can.Frame
	for i, text := range []string{"0CF00400#00", "18ECFF00#20140003FFCAFE00", "18EBFF00#0101FF0304050607", "18EBFF00#0208090A0B0C0D0E", "18EBFF00#030F1011121314FF", "18FECA00#010203"} {
		var f can.Frame
		if _, err := can.ParseCandump(fmt.Sprintf("(1700000000.%d00000) can0 %s", i, text), &f); err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	truth.Add("can0", 0, frames)
	at := frames[4].Time / 1000
	long := drive.SampleSum(drive.SignalKey("can0", "Lamps", "Count"), at, 3) + drive.SampleSum(drive.SignalKey("can0", "Lamps", "Last"), at, 20)
	single := drive.SampleSum(drive.SignalKey("can0", "Lamps", "Count"), frames[5].Time/1000, 3)
	for _, test := range []struct {
		stretches []virtual.Range
		want      drive.Sum
	}{
		{[]virtual.Range{{First: 0, End: 6}}, drive.Sum{Frames: 6, Decoded: 1, Unknown: 5, Samples: 3, Checksum: long + single}},
		{[]virtual.Range{{First: 1, End: 5}}, drive.Sum{Frames: 4, Unknown: 4, Samples: 2, Checksum: long}},
		{[]virtual.Range{{First: 2, End: 6}}, drive.Sum{Frames: 4, Decoded: 1, Unknown: 3, Samples: 1, Checksum: single}},
		{[]virtual.Range{{First: 0, End: 4}}, drive.Sum{Frames: 4, Unknown: 4}},
		{[]virtual.Range{{First: 0, End: 3}, {First: 3, End: 5}}, drive.Sum{Frames: 5, Unknown: 5}}, // with frames lost between them
	} {
		if got := truth.Sum("can0", test.stretches...); got != test.want {
			t.Errorf("%v: got %+v, want %+v", test.stretches, got, test.want)
		}
	}
	if got := truth.Signals("can0", virtual.Range{First: 0, End: 6}); got[0] != 2 || got[1] != 1 {
		t.Errorf("got %v samples by signal, want 2 and 1", got)
	}
}

// TestChecksumNotices changes one thing at a time.
func TestChecksumNotices(t *testing.T) {
	key := drive.SignalKey("can0", "SPEED", "WHEEL")
	sums := map[drive.Checksum]string{}
	for name, sum := range map[string]drive.Checksum{
		"sample":         drive.SampleSum(key, 1000, 42),
		"raw":            drive.SampleSum(key, 1000, 43),
		"negative":       drive.SampleSum(key, 1000, -42),
		"time":           drive.SampleSum(key, 1001, 42),
		"time and raw":   drive.SampleSum(key, 1001, 41),
		"bus":            drive.SampleSum(drive.SignalKey("can1", "SPEED", "WHEEL"), 1000, 42),
		"name boundary":  drive.SampleSum(drive.SignalKey("can0", "SPEEDW", "HEEL"), 1000, 42),
		"nothing":        0,
		"sample twice":   2 * drive.SampleSum(key, 1000, 42),
		"swapped values": drive.SampleSum(key, 42, 1000),
	} {
		if other, ok := sums[sum]; ok {
			t.Errorf("%s and %s have the same checksum", name, other)
		}
		sums[sum] = name
	}
}

func BenchmarkTruth(b *testing.B) {
	plan := compile(b, []dbc.Source{source(b, "can0", "toyota_new_mc_pt", false), source(b, "can1", "toyota_adas", false)})
	r, err := drive.Open(recordings + "rav4.log.zst")
	if err != nil {
		b.Fatal(err)
	}
	log, err := readAll(b, r)
	if err != nil {
		b.Fatal(err)
	}
	frames := map[string][]can.Frame{}
	for i := range log {
		frames[log[i].Bus] = append(frames[log[i].Bus], log[i].Frame)
	}
	b.ReportAllocs()
	for b.Loop() {
		truth := drive.NewTruth(plan)
		for bus, all := range frames {
			truth.Add(bus, 0, all)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(log)), "ns/frame")
}
