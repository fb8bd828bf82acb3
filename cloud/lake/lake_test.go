package lake_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"telltale.dev/cloud/lake"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// sample is a row as a reader sees it.
type sample struct {
	Time     time.Time `parquet:"time,timestamp(microsecond)"`
	Vehicle  string    `parquet:"vid"`
	Device   string    `parquet:"did"`
	Boot     string    `parquet:"boot"`
	Seq      int64     `parquet:"seq"`
	Campaign string    `parquet:"campaign"`
	Bus      string    `parquet:"bus"`
	Message  string    `parquet:"message"`
	Signal   string    `parquet:"signal"`
	Path     *string   `parquet:"path,optional"`
	Value    *float64  `parquet:"value,optional"`
	Raw      *int64    `parquet:"raw,optional"`
	Text     *string   `parquet:"text,optional"`
	Unit     *string   `parquet:"unit,optional"`
	Bits     *uint64   `parquet:"raw_bits,optional"`
	Validity *string   `parquet:"quality,optional"`
	Purpose  *string   `parquet:"purpose,optional"`
	Quality  *string   `parquet:"time_quality,optional"`
	// Received is null in old parts.
	Received *time.Time `parquet:"received,optional,timestamp(microsecond)"`
}

func (s sample) String() string {
	return fmt.Sprint(s.Time.UTC().Format(time.RFC3339Nano), " ", s.Vehicle, " ", s.Device, " ", s.Boot, " ", s.Seq, " ", s.Campaign, " ",
		s.Bus, " ", s.Message, " ", s.Signal, " ", show(s.Path), " ", show(s.Value), " ", show(s.Raw), " ", show(s.Text), " ", show(s.Unit), " ", show(s.Bits), " ", show(s.Validity), " ", show(s.Purpose), " ", show(s.Quality), " ", showTime(s.Received))
}

func showTime(t *time.Time) string {
	if t == nil {
		return "null"
	}
	return t.UTC().Format(time.TimeOnly)
}

func show[T any](v *T) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprint(*v)
}

// schema has two groups: speed and gear together, and a float of 64 bits alone.
func schema(tb testing.TB) *schemas.Schema {
	tb.Helper()
	s := schemas.Schema{
		Version: schemas.Version1, Campaign: "everything", Rule: "all", Tick: 1000, Mode: protocol.ModeAll,
		Signals: []signal.Signal{
			{Name: "Speed", Unit: "km/h", Message: "Motion", Bus: "can0", CAN: &signal.Bits{ID: 0x100, Length: 16}, Scale: "0.01", Offset: "-5"},
			{Name: "Gear", Message: "Motion", Bus: "can0", CAN: &signal.Bits{ID: 0x100, Start: 16, Length: 4}, Values: map[int64]string{1: "Drive", 2: "Größer"}},
			{Name: "Ratio", Unit: "1", Message: "Float", Bus: "can1", CAN: &signal.Bits{ID: can.Extended | 0x200, Length: 64}, IEEE: 64, VSS: "Vehicle.Ratio"},
		},
		Groups: [][]uint32{{0, 1}, {2}},
	}
	doc, _, err := s.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	parsed, err := schemas.Parse(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return parsed
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// batch has n rows of the first group, a millisecond apart from at on: 2n samples.
func batch(seq uint64, at time.Time, n int) *batches.Batch {
	g := batches.GroupRows{Group: 0, Columns: make([][]int64, 2)}
	for i := range n {
		g.Time = append(g.Time, at.UnixMicro()+int64(i)*1000)
		g.Columns[0] = append(g.Columns[0], int64(i))
		g.Columns[1] = append(g.Columns[1], int64(i%4))
	}
	b := &batches.Batch{Rows: []batches.GroupRows{g}}
	b.ID = protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{7}, Seq: seq}
	b.Schema = protocol.SchemaID{1}
	return b
}

func open(tb testing.TB, dir string) *lake.Lake {
	tb.Helper()
	w, err := lake.Open(lake.Config{Dir: dir, Stream: "UP"})
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

func appendAll(tb testing.TB, w *lake.Lake, s *schemas.Schema, batches ...*batches.Batch) {
	tb.Helper()
	for _, b := range batches {
		if err := w.Append("car1", s.Campaign, "", start, s, b); err != nil {
			tb.Fatal(err)
		}
	}
}

// parts lists the files that a reader finds, as date/name.
func parts(tb testing.TB, dir string) (out []string) {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "date=*", "part-*.parquet"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range files {
		out = append(out, filepath.Base(filepath.Dir(f))+"/"+filepath.Base(f))
	}
	return out
}

// read gives all rows of all parts.
func read(tb testing.TB, dir string) (out []sample) {
	tb.Helper()
	for _, p := range parts(tb, dir) {
		out = append(out, readPart(tb, filepath.Join(dir, p))...)
	}
	return out
}

func readPart(tb testing.TB, name string) []sample {
	tb.Helper()
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	r := parquet.NewGenericReader[sample](f)
	rows := make([]sample, r.NumRows())
	if n, err := r.Read(rows); n != len(rows) || err != nil && !errors.Is(err, io.EOF) {
		tb.Fatalf("%s: read %d of %d rows: %v", filepath.Base(name), n, len(rows), err)
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
	return rows
}

// TestRows: one row a sample, sorted by bus, message, signal and time.
func TestRows(t *testing.T) {
	dir, s := t.TempDir(), schema(t)
	w := open(t, dir)
	b := &batches.Batch{Rows: []batches.GroupRows{
		{Group: 1, Time: []int64{start.UnixMicro() + 1500, start.UnixMicro()}, Columns: [][]int64{{int64(math.Float64bits(math.NaN())), int64(math.Float64bits(-0.5))}}},
		{Group: 0, Time: []int64{start.UnixMicro() + 500, start.UnixMicro() + 1500}, Columns: [][]int64{{500, 65535}, {2, 9}}, Present: [][]uint64{nil, {1}}},
	}}
	b.ID = protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{0xab, 7: 0xcd}, Seq: 42}
	b.TimeQuality = batches.TimeNTP
	if err := w.Append("car1", "everything", "research", start.Add(time.Minute), s, b); err != nil {
		t.Fatal(err)
	}
	if got := w.Rows(); got != 5 {
		t.Errorf("rows waiting: got %d, want 5", got)
	}
	if err := w.Commit(9, 10, nil); err != nil {
		t.Fatal(err)
	}
	const head, boot, end = " car1 tcu1 ", "ab000000000000cd 42 everything ", " research ntp 12:01:00"
	want := []string{
		"2026-11-23T12:00:00.0005Z" + head + boot + "can0 Motion Gear null 2 2 Größer null null null" + end,
		"2026-11-23T12:00:00.0005Z" + head + boot + "can0 Motion Speed null 0 500 null km/h null null" + end,
		"2026-11-23T12:00:00.0015Z" + head + boot + "can0 Motion Speed null 650.35 65535 null km/h null null" + end,
		"2026-11-23T12:00:00Z" + head + boot + "can1 Float Ratio Vehicle.Ratio -0.5 null null 1 13826050856027422720 null" + end,
		"2026-11-23T12:00:00.0015Z" + head + boot + "can1 Float Ratio Vehicle.Ratio NaN null null 1 9221120237041090561 null" + end,
	}
	checkRows(t, dir, want)
	if got, want := parts(t, dir), []string{"date=2026-11-23/part-UP-1-9.parquet"}; !slices.Equal(got, want) {
		t.Errorf("parts: got %v, want %v", got, want)
	}
}

// checkRows holds all rows of a lake against the given ones.
func checkRows(t *testing.T, dir string, want []string) {
	t.Helper()
	var got []string
	for _, r := range read(t, dir) {
		got = append(got, r.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestFooters: each column chunk of each part names its column, none says anything about the
// order of values that may not be numbers, and each row group says how its rows are sorted.
func TestFooters(t *testing.T) {
	dir, s := t.TempDir(), schema(t)
	l := open(t, dir)
	for i := range uint64(3) {
		b := &batches.Batch{Rows: []batches.GroupRows{{Group: 1, Time: []int64{0, 1}, Columns: [][]int64{{int64(math.Float64bits(math.NaN())), 0}}}}}
		b.ID.Seq = i + 1
		appendAll(t, l, s, b)
		if err := l.Commit(i+1, i+1+1, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range parts(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, part))
		if err != nil {
			t.Fatal(err)
		}
		p, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		for _, c := range p.Metadata().RowGroups[0].SortingColumns {
			if c.Descending || c.NullsFirst {
				t.Errorf("%s: got column %d descending or nulls first", part, c.ColumnIdx)
			}
			order = append(order, p.Schema().Columns()[c.ColumnIdx][0])
		}
		if want := []string{"vid", "bus", "message", "signal", "time", "boot", "seq"}; !slices.Equal(order, want) {
			t.Errorf("%s: got rows sorted by %q, want %q", part, order, want)
		}
		for i, c := range p.Metadata().RowGroups[0].Columns {
			want := p.Schema().Columns()[i]
			if got := []string(c.MetaData.PathInSchema); !slices.Equal(got, want) {
				t.Errorf("%s column %d: got path %q, want %q", part, i, got, want)
			}
			st := c.MetaData.Statistics
			if want[0] == "value" && (len(st.MinValue) > 0 || len(st.MaxValue) > 0 || len(st.Min) > 0) {
				t.Errorf("%s: value has bounds %x to %x, want none", part, st.MinValue, st.MaxValue)
			}
		}
	}
}

func TestDates(t *testing.T) {
	dir, s := t.TempDir(), schema(t)
	w := open(t, dir)
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	appendAll(t, w, s, batch(1, midnight.Add(-2*time.Millisecond), 5), batch(2, start, 1), batch(3, time.UnixMicro(0), 1))
	if err := w.Commit(3, 4, []byte("l")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"date=1970-01-01/part-UP-1-3.parquet", "date=2026-11-23/part-UP-1-3.parquet", "date=2026-11-24/part-UP-1-3.parquet",
	}
	if got := parts(t, dir); !slices.Equal(got, want) {
		t.Errorf("parts: got %v, want %v", got, want)
	}
	rows := read(t, dir)
	if len(rows) != 14 {
		t.Fatalf("got %d rows, want 14", len(rows))
	}
	if got := w.Stats(); got.Rows != 14 || got.Files != 3 || got.Commits != 1 || got.Bytes == 0 {
		t.Errorf("stats: got %+v, want 14 rows in 3 files by 1 commit", got)
	}
}

func TestAppendRefuses(t *testing.T) {
	s := schema(t)
	tests := []struct {
		name string
		edit func(g *batches.GroupRows)
	}{
		{"before 1970", func(g *batches.GroupRows) { g.Time[0] = -1 }},
		{"after 9999", func(g *batches.GroupRows) { g.Time[0] = math.MaxInt64 }},
		{"a wide span", func(g *batches.GroupRows) { g.Time[0] = 0 }},
		{"no such group", func(g *batches.GroupRows) { g.Group = 2 }},
		{"negative group", func(g *batches.GroupRows) { g.Group = -1 }},
		{"column missing", func(g *batches.GroupRows) { g.Columns = g.Columns[:1] }},
		{"column short", func(g *batches.GroupRows) { g.Columns[1] = g.Columns[1][:1] }},
		{"presence missing", func(g *batches.GroupRows) { g.Present = [][]uint64{{1}} }},
		{"presence short", func(g *batches.GroupRows) { g.Present = [][]uint64{nil, {}} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t, t.TempDir())
			b := batch(1, start, 3)
			tt.edit(&b.Rows[0])
			if err := w.Append("car1", "c", "", start, s, b); !errors.Is(err, lake.ErrUnfit) || w.Rows() != 0 {
				t.Errorf("got %v and %d rows, want ErrUnfit and none", err, w.Rows())
			}
		})
	}
}

func TestCommitWithoutRows(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	if err := w.Commit(5, 6, []byte("ledger")); err != nil {
		t.Fatal(err)
	}
	if got := parts(t, dir); len(got) != 0 {
		t.Errorf("parts: got %v, want none", got)
	}
	if last, ledger := newestOf(t, open(t, dir)); last != 5 || ledger != "ledger" {
		t.Errorf("checkpoint: got %d %q, want 5 and the ledger", last, ledger)
	}
	if err := w.Commit(4, 5, nil); !errors.Is(err, lake.ErrUncommitted) {
		t.Errorf("commit going back: got %v, want ErrUncommitted", err)
	}
}

func TestParsePart(t *testing.T) {
	tests := []struct {
		name string
		ok   bool
	}{
		{"part-UP-1-4711.parquet", true},
		{"part-UP-0-1.parquet", false},
		{"part-UP-2-1.parquet", false},
		{"part-UP-01-4.parquet", false},
		{"part-UP-1-18446744073709551616.parquet", false},
		{"part-U.P-1-2.parquet", false},
		{"part--1-2.parquet", false},
		{"part-UP-1-2.parquet.tmp", false},
		{"part-UP-1.parquet", false},
		{"other", false},
	}
	for _, tt := range tests {
		if stream, first, last, ok := lake.ParsePart(tt.name); ok != tt.ok || ok && (stream != "UP" || first != 1 || last != 4711) {
			t.Errorf("%s: got %s %d %d %v, want ok %v", tt.name, stream, first, last, ok, tt.ok)
		}
	}
}

// TestLargeSchemas: many schemas of tens of thousands of signals, of each of which a batch has one, cost the lake that
// one: neither a place for each signal nor the whole schema in memory.
func TestLargeSchemas(t *testing.T) {
	l := open(t, t.TempDir())
	const kinds, signals = 50, 20_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range kinds {
		s := &schemas.Schema{Signals: make([]signal.Signal, signals), Groups: [][]uint32{{signals - 1}}}
		s.Signals[signals-1] = signal.Signal{Bus: "gnss0", Message: "fix", Name: fmt.Sprint("signal", n), IEEE: 64}
		b := &batches.Batch{
			Header: batches.Header{ID: protocol.MessageID{Device: "tcu", Seq: uint64(n + 1)}, Schema: protocol.SchemaID{byte(n)}},
			Rows:   []batches.GroupRows{{Time: []int64{start.UnixMicro()}, Columns: [][]int64{{1}}}},
		}
		if err := l.Append("car1", "everything", "", start, s, b); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := l.Signals(); n != kinds {
		t.Errorf("got %d signals, want one of each of %d schemas", n, kinds)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 20<<20 { // 50 schemas have 200 MB
		t.Errorf("got %d MB more, want the schemas to be forgotten", grown>>20)
	}
	if err := l.Commit(kinds, kinds+1, nil); err != nil {
		t.Fatal(err)
	}
}
