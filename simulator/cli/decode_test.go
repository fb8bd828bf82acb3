package cli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
)

const recorded = "../recordings/"

// decoded runs decode on a recording and gives its lines, split at the tabs, one by one.
func decoded(t *testing.T, log string, flags Recording, each func(field []string)) {
	t.Helper()
	for i, arg := range flags.DBC {
		bus, file, _ := strings.Cut(arg, "=")
		flags.DBC[i] = bus + "=" + recorded + file + ".dbc"
	}
	buses, err := flags.Buses()
	if err != nil {
		t.Fatal(err)
	}
	list, err := Sources(buses)
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := dbc.Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := drive.Open(filepath.Join(recorded, log+".log.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var text bytes.Buffer
	out := bufio.NewWriter(&text)
	if err := decodeLog(t.Context(), plan, reader, out); err != nil {
		t.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		field := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(field) != 7 {
			t.Fatalf("got %q, want 7 fields", line)
		}
		each(field)
	}
}

// rows reads a golden file without its heading.
func rows(t *testing.T, name string) (list [][]string) {
	t.Helper()
	text, err := os.ReadFile(recorded + "golden/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		list = append(list, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return list[1:]
}

// TestDecodeGolden holds the output of telltale decode against an independent
// decoder's: every signal of the first frames as text, and every raw value of
// the whole log by its SHA-256.
func TestDecodeGolden(t *testing.T) {
	for _, c := range []struct {
		log   string
		flags Recording
		long  bool
		// marked are those of the first frames that are not_available or error.
		marked int
	}{
		{"rav4", Recording{DBC: []string{"can0=toyota_new_mc_pt", "can1=toyota_adas"}}, false, 0},
		{"truck1", Recording{DBC: []string{"can1=j1939", "can2=canmod-gps"}, J1939: []string{"can1"}}, false, 4310},
		{"canmod1", Recording{DBC: []string{"can1=OBD-v4.4", "can2=canmod-gps"}}, true, 0},
	} {
		t.Run(c.log, func(t *testing.T) {
			t.Parallel()
			if c.long && testing.Short() {
				t.Skip("a long log")
			}
			first := map[string]bool{}
			sums := map[string]hash.Hash{}
			decoded(t, c.log, c.flags, func(f []string) {
				if n, err := strconv.Atoi(f[0]); err != nil {
					t.Fatal(err)
				} else if n < 2000 {
					value := f[5]
					if value == "not_available" || value == "error" {
						value = ""
					}
					first[strings.Join([]string{f[0], f[2], f[3], f[4], value}, "\t")] = true
				}
				key := f[1] + " " + f[2] + " " + f[3]
				if sums[key] == nil {
					sums[key] = sha256.New()
				}
				_, _ = sums[key].Write(rawBytes(t, f[4]))
			})
			wrong, marked := 0, 0
			for _, row := range rows(t, c.log+".first2000.tsv") {
				got := first[strings.Join(row, "\t")]
				if !got && len(c.flags.J1939) > 0 { // the other decoder does not know what is no measurement
					got = first[strings.Join(row[:4], "\t")+"\t"]
					marked++
				}
				if !got && wrong < 10 {
					wrong++
					t.Errorf("no line for %q", row)
				}
			}
			if want := c.marked; marked != want {
				t.Errorf("got %d values that are no measurements, want %d", marked, want)
			}
			signals := rows(t, c.log+".signals.tsv")
			for _, row := range signals {
				key, want := row[0]+" "+row[4]+" "+row[5], row[len(row)-1]
				if sums[key] == nil {
					t.Errorf("%s: got nothing", key)
				} else if got := hex.EncodeToString(sums[key].Sum(nil)); got != want {
					t.Errorf("%s: got SHA-256 %s of its raw values, want %s", key, got, want)
				}
			}
			t.Logf("%d signals", len(signals))
		})
	}
}

// TestDecodeLongGolden holds the J1939 messages of more than 8 bytes of a recording against values that were worked out apart.
func TestDecodeLongGolden(t *testing.T) {
	t.Parallel()
	var got [][]string
	decoded(t, "truck1", Recording{DBC: []string{"can1=j1939", "can2=canmod-gps"}, J1939: []string{"can1"}}, func(f []string) {
		if f[2] == "EC1" {
			got = append(got, []string{f[0], f[2], f[3], f[4], f[5]})
		}
	})
	want := rows(t, "truck1.long.tsv")
	const messages, signals = 25, 27
	if len(got) != messages*signals || len(want) != 2*signals {
		t.Fatalf("got %d values, want %d messages of %d", len(got), messages, signals)
	}
	got = append(got[:signals], got[len(got)-signals:]...)
	for i := range want {
		if got[i][4] == "not_available" || got[i][4] == "error" {
			got[i][4] = want[i][4]
		}
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

// rawBytes is how the golden sums take a value: 8 bytes, little-endian, of the integer or of the IEEE double.
func rawBytes(t *testing.T, text string) []byte {
	t.Helper()
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return binary.LittleEndian.AppendUint64(nil, uint64(n))
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return binary.LittleEndian.AppendUint64(nil, n)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(f))
}
