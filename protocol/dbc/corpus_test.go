package dbc_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	einridedbc "go.einride.tech/can/pkg/dbc"
	"telltale.dev/protocol/dbc"
)

// corpusFile is a real DBC file and what other tools make of it.
type corpusFile struct {
	name              string
	text              []byte
	cantools, einride bool // they read it
	messages, signals int  // as cantools counts
}

// corpus reads testdata/dbc-corpus.tar.zst and its table.
func corpus(t testing.TB) []corpusFile {
	t.Helper()
	texts := unpack(t)
	rows, err := os.ReadFile("testdata/dbc-corpus.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var list []corpusFile
	for _, line := range strings.Split(strings.TrimSpace(string(rows)), "\n")[1:] {
		row := strings.Split(line, "\t")
		f := corpusFile{name: row[0], text: texts[row[0]], cantools: row[6] == "ok", einride: row[9] == "ok"}
		if f.text == nil {
			t.Fatalf("%s is not in the archive", f.name)
		}
		if f.cantools {
			f.messages, f.signals = atoi(t, row[7]), atoi(t, row[8])
		}
		list = append(list, f)
	}
	return list
}

// unpack gives the texts of the corpus by name.
func unpack(t testing.TB) map[string][]byte {
	t.Helper()
	archive, err := os.Open("testdata/dbc-corpus.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	plain, err := zstd.NewReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	texts := map[string][]byte{}
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if texts[path.Clean(header.Name)], err = io.ReadAll(files); err != nil {
			t.Fatal(err)
		}
	}
}

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// noReceivers is why we count more signals than others in some files.
const noReceivers = "its SG_ statements end behind the unit, without the receivers; they are complete all the same, " +
	"while cantools finds no signal in them and einride takes the next SG_ for the receiver"

// disagreements are the files in which we read other messages or signals than another tool, and why we stay.
var disagreements = map[string]struct {
	messages, signals int // ours
	why               string
}{
	"reneherrero+dbc-rs/tests__data__minimal.dbc":      {1, 1, noReceivers}, // cantools: no signal
	"reneherrero+dbc-rs/tests__data__extended_ids.dbc": {2, 4, noReceivers}, // einride: 2 signals; cantools refuses it
	"reneherrero+dbc-rs/tests__data__multiplexed.dbc":  {2, 7, noReceivers}, // einride: 2 signals; cantools refuses it
}

// TestCorpus reads real files. Those that cantools or einride read are read wholly and with the same messages and
// signals; of the others each is read in part, and each statement that is skipped is named.
func TestCorpus(t *testing.T) {
	whole, part := 0, 0
	for _, f := range corpus(t) {
		t.Run(f.name, func(t *testing.T) {
			file, problems, err := dbc.Parse(path.Base(f.name), f.text)
			if err != nil {
				t.Fatal(err)
			}
			messages, signals := len(file.Messages), 0
			for _, m := range file.Messages {
				signals += len(m.Signals)
			}
			want, ours := disagreements[f.name]
			if !ours {
				want.messages, want.signals = f.messages, f.signals
			}
			if (f.cantools || ours) && (messages != want.messages || signals != want.signals) {
				t.Errorf("got %d messages and %d signals, want %d and %d", messages, signals, want.messages, want.signals)
			}
			if f.einride && !ours {
				compareEinride(t, f, file)
			}
			if (f.cantools || f.einride) && file.Skipped > 0 {
				t.Errorf("got %d statements skipped, want none: %v", file.Skipped, problems)
			}
			if named := countSkipped(problems); named != file.Skipped {
				t.Errorf("got %d problems of skipped statements, want %d", named, file.Skipped)
			}
			t.Logf("%d messages, %d signals, %d of %d statements skipped: %v", messages, signals, file.Skipped, file.Statements, problems)
			if file.Skipped == 0 {
				whole++
			} else if signals > 0 {
				part++
			}
		})
	}
	t.Logf("%d files read wholly, %d in part", whole, part)
}

func countSkipped(problems []dbc.Problem) (n int) {
	for _, p := range problems {
		if p.Skipped {
			n++
		}
	}
	return n
}

// compareEinride compares messages and where their signals are with what go.einride.tech/can's parser reads.
func compareEinride(t *testing.T, f corpusFile, file *dbc.File) {
	t.Helper()
	p := einridedbc.NewParser(f.name, f.text)
	if err := p.Parse(); err != nil {
		t.Fatalf("einride: %v", err)
	}
	var want, got []string
	for _, def := range p.Defs() {
		m, ok := def.(*einridedbc.MessageDef)
		if !ok || m.Name == "VECTOR__INDEPENDENT_SIG_MSG" {
			continue
		}
		want = append(want, fmt.Sprint("length ", m.Size))
		for _, s := range m.Signals {
			want = append(want, fmt.Sprint(s.StartBit, s.Size, s.IsBigEndian, s.IsSigned, s.Factor, s.Offset))
		}
	}
	for _, m := range file.Messages {
		got = append(got, fmt.Sprint("length ", m.Length))
		for _, s := range m.Signals {
			got = append(got, fmt.Sprint(s.Start, s.Length, s.BigEndian, s.Signed, s.Factor, s.Shift))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d messages and signals, einride %d, or they differ:\n got %v\nwant %v", len(got), len(want), got, want)
	}
}
