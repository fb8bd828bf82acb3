package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/report"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/world"
)

// The made-up drive: 100 frames, 10 ms apart, of which every fifth is unknown;
// the others hold one sample, their own number. The agent is killed after frame
// 60 with 40 on its disk and reads again from 70 on, but loses five frames.
const (
	frames     = 100
	committed  = 40
	killed     = 60
	back       = 70
	lostFirst  = 80
	lostBehind = 85
)

const tiny = `VERSION ""
BU_: ECU
BO_ 256 Counter: 1 ECU
 SG_ Number : 0|8@1+ (1,0) [0|255] "" ECU
`

func truth(t *testing.T) *drive.Truth {
	t.Helper()
	file, _, err := dbc.Parse("tiny.dbc", []byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}})
	if err != nil {
		t.Fatal(err)
	}
	truth := drive.NewTruth(plan)
	for i := range uint64(frames) {
		f := can.Frame{ID: 0x100, Len: 1, Time: at(int(i))}
		f.Data[0] = byte(i)
		if !known(int(i)) {
			f.ID = 0x200
		}
		truth.Add("can0", i, []can.Frame{f})
	}
	return truth
}

func known(i int) bool { return i%5 != 4 }

// at is the time of a frame in µs.
func at(i int) int64 { return int64(i) * 10_000 }

// rows are the samples of a stretch of frames as one batch.
func rows(boot string, seq int64, stretches ...[2]int) (list []ledger.Row) {
	for _, s := range stretches {
		for i := s[0]; i < s[1]; i++ {
			if known(i) {
				list = append(list, ledger.Row{
					Time: at(i), VID: "anna", DID: "tcu", Boot: boot, Seq: seq,
					Bus: "can0", Message: "Counter", Signal: "Number", Value: float64(i), Raw: int64(i),
				})
			}
		}
	}
	return list
}

// account is a drive with all that is known about it, before something goes wrong.
type account struct {
	ledger.Evidence
	files map[string][]ledger.Row // of the lake
}

func sound(t *testing.T) *account {
	t.Helper()
	return &account{
		Evidence: ledger.Evidence{
			Device: "tcu", Buses: []string{"can0"}, Truth: truth(t), Everything: true, Took: time.Second, WireBytes: 5000,
			Attachments: []virtual.Attachment{
				{ID: 1, Bus: "can0", PID: 7, First: 0, Next: killed, Ended: true},
				{ID: 2, Bus: "can0", PID: 8, First: back, Next: frames, Dropped: []virtual.Range{{First: lostFirst, End: lostBehind}}},
			},
			Starts: []world.Start{{PID: 7, Boot: "a", Committed: 32}, {PID: 8, Boot: "b", Committed: 20}},
			After: report.Account{Boots: []report.Boot{
				{Boot: "earlier", Received: 9, Decoded: 9, Samples: 9, NextSeq: 7, Seen: []uint64{9}},
				{Boot: "a", Received: 40, Decoded: 32, Unknown: 8, Samples: 32, Bytes: 64, NextSeq: 3, Seen: []uint64{committed}},
				{Boot: "b", Received: 25, Dropped: 5, Decoded: 20, Unknown: 5, Samples: 20, Bytes: 40, NextSeq: 2, Seen: []uint64{30}},
			}},
		},
		files: map[string][]ledger.Row{
			"date=1970-01-01/1.parquet": rows("a", 1, [2]int{0, 20}),
			"date=1970-01-01/2.parquet": append(rows("a", 2, [2]int{20, 40}), rows("b", 1, [2]int{back, lostFirst}, [2]int{lostBehind, frames})...),
		},
	}
}

func (a *account) compute(t *testing.T) (*ledger.Ledger, error) {
	t.Helper()
	a.Lake = t.TempDir()
	for name, rows := range a.files {
		path := filepath.Join(a.Lake, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := parquet.WriteFile(path, rows); err != nil {
			t.Fatal(err)
		}
	}
	return ledger.Compute(a.Evidence)
}

const first, second = "date=1970-01-01/1.parquet", "date=1970-01-01/2.parquet"

func TestCompute(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*account)
		want   []string // in the error; none: it adds up
	}{
		{name: "adds up", change: func(*account) {}},
		{name: "a batch is lost", want: []string{"lost is 1", "samples_collected is 52, expected 36"}, change: func(a *account) {
			delete(a.files, first)
		}},
		{name: "a row is lost", want: []string{"samples_collected is 52, expected 51"}, change: func(a *account) {
			a.files[first] = a.files[first][1:]
		}},
		{name: "a batch is there again", want: []string{"duplicated is 1"}, change: func(a *account) {
			a.files["date=1970-01-01/3.parquet"] = a.files[first]
		}},
		{name: "a batch is there again right behind", want: []string{"duplicated is 1"}, change: func(a *account) {
			a.files[first] = append(a.files[first], a.files[first]...)
		}},
		{name: "a lost batch and another one twice", want: []string{"lost is 1", "duplicated is 1"}, change: func(a *account) {
			a.files[first] = rows("a", 2, [2]int{20, 40})
		}},
		{name: "a batch goes over midnight", change: func(a *account) {
			a.files["date=1970-01-02/1.parquet"] = a.files[first][9:]
			a.files[first] = a.files[first][:9]
		}},
		{name: "a value is another", want: []string{"not those that were sent"}, change: func(a *account) { a.files[first][3].Raw++ }},
		{name: "a time is another", want: []string{"not those that were sent"}, change: func(a *account) { a.files[first][3].Time += 1000 }},
		{name: "a signal is another", want: []string{"not those that were sent"}, change: func(a *account) { a.files[first][3].Signal = "Numbre" }},
		{name: "others are in the lake too", change: func(a *account) {
			a.files["date=1970-01-01/0.parquet"] = append(rows("earlier", 1, [2]int{0, 9}), ledger.Row{DID: "ivi", Boot: "a", Seq: 1})
			a.files["date=1970-01-01/.under-way.parquet"] = a.files[first]
		}},
		{name: "a batch was evicted", change: func(a *account) {
			delete(a.files, first)
			a.Declared, a.After.EvictedSamples = []report.Range{{Boot: "a", From: 1, To: 1}}, 16
		}},
		{name: "a batch was evicted, and is not yet declared", change: func(a *account) {
			delete(a.files, first)
			a.After.Evicted, a.After.EvictedSamples = []report.Range{{Boot: "a", From: 1, To: 1}}, 16
		}},
		{name: "a batch was evicted when it was stored already", change: func(a *account) {
			a.Declared, a.After.EvictedSamples = []report.Range{{Boot: "a", From: 1, To: 1}}, 16
		}},
		{name: "an evicted batch of another boot is declared", want: []string{"lost is 1"}, change: func(a *account) {
			delete(a.files, first)
			a.Declared, a.After.EvictedSamples = []report.Range{{Boot: "b", From: 1, To: 1}}, 16
		}},
		{name: "evicted before the drive", change: func(a *account) { a.Before.EvictedSamples, a.After.EvictedSamples = 5, 5 }},
		{name: "the agent counts a drop less", want: []string{"frames_sent is 100, expected 99"}, change: func(a *account) { a.After.Boots[2].Dropped-- }},
		{name: "the agent misses a frame", want: []string{"frames_sent is 100, expected 99", "frames_received is 64"}, change: func(a *account) { a.After.Boots[1].Received-- }},
		{name: "the agent knows a frame less", want: []string{"the player decoded 52 frames and did not know 13"}, change: func(a *account) {
			a.After.Boots[1].Decoded--
			a.After.Boots[1].Unknown++
		}},
		{name: "the agent finds a sample less", want: []string{"the player found 52 samples"}, change: func(a *account) { a.After.Boots[1].Samples-- }},
		{name: "some only are collected", change: func(a *account) {
			a.Everything = false
			a.After.Boots[1].Samples, a.Starts[0].Committed = 16, 16
			a.After.Boots[1].NextSeq = 2
			a.files[second] = rows("b", 1, [2]int{back, lostFirst}, [2]int{lostBehind, frames})
		}},
		{name: "a batch still waits", want: []string{"1 batches still wait"}, change: func(a *account) { a.After.WaitingRecords = 1 }},
		{name: "samples were damaged on disk", want: []string{"4 samples were damaged"}, change: func(a *account) { a.Before.LostSamples, a.After.LostSamples = 2, 6 }},
		{name: "what was said to be on disk is not", want: []string{"start 1 of the agent told of 33 samples"}, change: func(a *account) { a.Starts[0].Committed++ }},
		{name: "a start that never committed", change: func(a *account) {
			a.Starts = append(a.Starts, world.Start{PID: 9}, world.Start{PID: 10, Boot: "c"})
			a.Attachments = append(a.Attachments, virtual.Attachment{ID: 3, Bus: "can0", PID: 10, First: 60, Next: 65, Ended: true})
		}},
		{name: "one start attached twice", change: func(a *account) {
			a.Attachments[0].Next = 15
			a.Attachments = append(a.Attachments, virtual.Attachment{ID: 3, Bus: "can0", PID: 7, First: 15, Next: killed, Ended: true})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := sound(t)
			c.change(a)
			l, err := a.compute(t)
			if err != nil {
				t.Fatal(err)
			}
			err = l.Check()
			if len(c.want) == 0 && err != nil {
				t.Errorf("got %v, want that it adds up", err)
			}
			for _, text := range c.want {
				if !errors.Is(err, ledger.ErrDoesNotAddUp) || !strings.Contains(err.Error(), text) {
					t.Errorf("got %v, want %q", err, text)
				}
			}
		})
	}
}

// TestLedgerFigures holds every figure of the sound drive against one counted by hand.
func TestLedgerFigures(t *testing.T) {
	l, err := sound(t).compute(t)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v", *l)
	want := fmt.Sprintf("%+v", ledger.Ledger{
		FramesSent: 100, FramesReceived: 65, FramesUnpowered: 30, FramesDropped: 5, FramesDecoded: 52, FramesUnknown: 13,
		SamplesCollected: 52, SamplesUnpowered: 24, SamplesStored: 52, BatchesStored: 3,
		PayloadBytes: 104, WireBytes: 5000, BytesPerSample: 2, Seconds: 1,
	})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var table strings.Builder
	l.Table(&table)
	for _, line := range strings.Split(table.String(), "\n") {
		if strings.HasSuffix(line, " ") {
			t.Errorf("got %q, want no blanks at its end", line)
		}
	}
}

// TestNumbersOnly: an account that compares numbers only says so, and why.
func TestNumbersOnly(t *testing.T) {
	a := sound(t)
	a.NumbersOnly = "the kernel dropped 5 frames"
	a.files[first][3].Raw++ // not to be noticed
	l, err := a.compute(t)
	if err != nil || l.Check() != nil || l.NumbersOnly != a.NumbersOnly {
		t.Errorf("got %v, %v and %q", err, l.Check(), l.NumbersOnly)
	}
	var table strings.Builder
	if l.Table(&table); !strings.Contains(table.String(), "not sample by sample: the kernel dropped 5 frames\n") {
		t.Errorf("got %s", table.String())
	}
}

func TestComputeUnreadable(t *testing.T) {
	a := sound(t)
	if _, err := a.compute(t); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(a.Lake, first)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, damaged := range map[string][]byte{"cut": text[:len(text)/2], "empty": nil, "other": []byte("hello, world, I am no Parquet")} {
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Compute(a.Evidence); err == nil || !strings.Contains(err.Error(), "1.parquet") {
			t.Errorf("%s: got %v, want an error that names 1.parquet", what, err)
		}
	}
	a.Lake = filepath.Join(a.Lake, "nowhere")
	if _, err := ledger.Compute(a.Evidence); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 98800: "98,800", 1234567890: "1,234,567,890"} {
		if got := ledger.Thousands(n); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestSum: the sum of two devices is right when each of them is, and says of which one is not.
func TestSum(t *testing.T) {
	a := &ledger.Ledger{FramesSent: 100, FramesReceived: 90, FramesUnpowered: 10, FramesDecoded: 80, FramesUnknown: 10, SamplesCollected: 80,
		SamplesStored: 80, SamplesUnpowered: 8, BatchesStored: 2, PayloadBytes: 40, WireBytes: 500, BytesPerSample: 0.5, Seconds: 3}
	b := &ledger.Ledger{FramesSent: 10, FramesReceived: 7, FramesDropped: 1, FramesFiltered: 2, FramesDecoded: 7, SamplesCollected: 20,
		SamplesStored: 15, SamplesEvicted: 5, BatchesStored: 1, PayloadBytes: 60, WireBytes: 70, BytesPerSample: 3, Seconds: 2, NumbersOnly: "frames were kept away"}
	devices := map[string]*ledger.Ledger{"a": a, "b": b}
	got := ledger.Sum(devices)
	want := ledger.Ledger{FramesSent: 110, FramesReceived: 97, FramesUnpowered: 10, FramesDropped: 1, FramesFiltered: 2, FramesDecoded: 87, FramesUnknown: 10,
		SamplesCollected: 100, SamplesStored: 95, SamplesEvicted: 5, SamplesUnpowered: 8, BatchesStored: 3, PayloadBytes: 100, WireBytes: 570,
		BytesPerSample: 1, Seconds: 3, NumbersOnly: "of b, frames were kept away", Devices: devices}
	if err := got.Check(); err != nil || fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	a.SamplesStored, b.SamplesStored = 79, 16 // wrong by as much, one the other way
	err := ledger.Sum(devices).Check()
	for _, text := range []string{"a: the ledger does not add up: samples_collected is 80, expected 79", "b: the ledger does not add up: samples_collected is 20, expected 21"} {
		if !errors.Is(err, ledger.ErrDoesNotAddUp) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
}
