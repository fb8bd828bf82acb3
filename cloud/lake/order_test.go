package lake_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"telltale.dev/cloud/lake"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// TestOrder: batches of several vehicles and dates, with signals of the same names in
// different schemas and times that go back, are in each file in the declared order, and samples of
// one signal and time in the order in which they were on the bus, though the batches come in any order.
func TestOrder(t *testing.T) {
	dir, random := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	w := open(t, dir)
	s := schema(t)
	other := *s // the same signals in another order
	other.Signals = []signal.Signal{s.Signals[1], s.Signals[0], s.Signals[2]}
	schemas := []*schemas.Schema{s, &other}
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	counter, rows := int64(0), 0
	var waiting []func() error
	for seq := range uint64(40) {
		n := random.IntN(50) + 1
		g := batches.GroupRows{Group: 0, Columns: make([][]int64, 2)}
		for range n {
			counter++
			g.Time = append(g.Time, midnight.UnixMicro()+int64(random.IntN(9)-4)*1000)
			g.Columns[0], g.Columns[1] = append(g.Columns[0], counter), append(g.Columns[1], counter)
		}
		b := &batches.Batch{Rows: []batches.GroupRows{g}}
		kind := random.IntN(2)
		b.ID = protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{7}, Seq: seq + 1}
		b.Schema = protocol.SchemaID{byte(kind)}
		vehicle := protocol.VehicleID(fmt.Sprint("car", random.IntN(3)))
		waiting = append(waiting, func() error { return w.Append(vehicle, "everything", "", midnight, schemas[kind], b) })
		rows += 2 * n
		if seq%20 == 19 {
			random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
			for _, appendBatch := range waiting {
				if err := appendBatch(); err != nil {
					t.Fatal(err)
				}
			}
			waiting = nil
			if err := w.Commit(seq+1, seq+1+1, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	total := 0
	for _, part := range parts(t, dir) {
		list := readPart(t, filepath.Join(dir, part))
		total += len(list)
		before := func(a, b sample) int {
			return slices.Compare(
				[]string{a.Vehicle, a.Bus, a.Message, a.Signal, fmt.Sprint(a.Time.UnixMicro()), fmt.Sprintf("%09d", *a.Raw)},
				[]string{b.Vehicle, b.Bus, b.Message, b.Signal, fmt.Sprint(b.Time.UnixMicro()), fmt.Sprintf("%09d", *b.Raw)})
		}
		if !slices.IsSortedFunc(list, before) {
			t.Errorf("%s: rows are not in order", part)
		}
	}
	if total != rows || len(parts(t, dir)) != 4 {
		t.Errorf("got %d rows in %d parts, want %d in 4", total, len(parts(t, dir)), rows)
	}
}

// ties makes a lake of one drive in which the last sample of each batch has the time of the
// next batch's first one. Its parts' names are in another order than its batches, as are the
// batches of the second part. On the bus, Speed was 0, 1, 2 and so on.
func ties(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	w := open(t, dir)
	for _, part := range []struct {
		last    uint64
		batches []uint64
	}{{1, []uint64{0}}, {9, []uint64{2, 1, 4, 3}}, {12, []uint64{5, 6}}} { // the third, part-UP-10-12, comes before part-UP-2-9
		for _, seq := range part.batches {
			b := batch(seq+1, start.Add(time.Duration(seq)*2*time.Millisecond), 3)
			b.Rows[0].Columns[0] = []int64{int64(3 * seq), int64(3*seq + 1), int64(3*seq + 2)}
			appendAll(t, w, schema(t), b)
		}
		if err := w.Commit(part.last, part.last+1, nil); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestTies: the samples of one signal are in the order in which they were on the bus, in each part as
// they are and over all parts in the documented order, also where two of them have one time.
func TestTies(t *testing.T) {
	dir := ties(t)
	var speeds []sample
	for _, part := range parts(t, dir) {
		list := slices.DeleteFunc(readPart(t, filepath.Join(dir, part)), func(s sample) bool { return s.Signal != "Speed" })
		if !slices.IsSortedFunc(list, func(a, b sample) int { return cmp.Compare(*a.Raw, *b.Raw) }) {
			t.Errorf("%s: samples are not in the order of the bus: %v", part, list)
		}
		speeds = append(speeds, list...)
	}
	slices.SortStableFunc(speeds, func(a, b sample) int { return a.Time.Compare(b.Time) })
	if slices.IsSortedFunc(speeds, func(a, b sample) int { return cmp.Compare(*a.Raw, *b.Raw) }) {
		t.Error("got the order of the bus by time and file name alone: the test has no ties")
	}
	slices.SortStableFunc(speeds, func(a, b sample) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Boot, b.Boot), cmp.Compare(a.Seq, b.Seq))
	})
	for i, s := range speeds {
		if *s.Raw != int64(i) {
			t.Fatalf("sample %d: got %v, want raw %d", i, s, i)
		}
	}
	if len(speeds) != 21 {
		t.Errorf("got %d samples, want 21", len(speeds))
	}
}

// TestOldParts: a lake of the layout before, whose rows lack the newer columns, is opened, goes
// on, and is read together with what is new.
func TestOldParts(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "first-layout"))); err != nil {
		t.Fatal(err)
	}
	w, err := lake.Open(lake.Config{Dir: dir, Stream: "UP", Oldest: 5})
	if err != nil {
		t.Fatal(err)
	}
	if last, ledger := newestOf(t, w); last != 4 || ledger != "ledger2" {
		t.Fatalf("checkpoint: got %d %q, want 4 and the ledger", last, ledger)
	}
	appendAll(t, w, schema(t), batch(3, start, 1))
	if err := w.Commit(5, 6, nil); err != nil {
		t.Fatal(err)
	}
	const boot = " car1 tcu1 ab000000000000cd 1 everything "
	checkRows(t, dir, []string{
		"2026-11-23T12:00:00Z" + boot + "can0 Motion Speed null 0 500 null km/h null null null null null",
		"2026-11-23T12:00:00Z" + boot + "can0 Motion Gear null 2 2 Größer  null null null null null",
		"2026-11-23T12:00:00Z" + boot + "can1 Float Ratio Vehicle.Ratio -0.5 -4620693217682128896 null 1 null null null null null",
		"2026-11-23T12:00:00Z" + boot + "can1 Wide Count null 1.8446744073709552e+19 -1 null  null null null null null",
		"2026-11-23T12:00:00Z" + boot + "can2 LFE Fuel null 3276.75 65535 null l/h null null null null null",
		"2026-11-23T12:00:00.001Z" + boot + "can0 Motion Speed null -5 0 null km/h null null null null null",
		"2026-11-23T12:00:00.001Z" + boot + "can1 Wide Count null 7 7 null  null null null null null",
		"2026-11-23T12:00:00.001Z" + boot + "can2 LFE Fuel null 5 100 null l/h null null null null null",
		"2026-11-23T12:00:00.0015Z" + boot + "can1 Float Ratio Vehicle.Ratio NaN 9221120237041090561 null 1 null null null null null",
		"2026-11-23T12:00:00.002Z" + boot + "can0 Motion Speed null 650.35 65535 null km/h null null null null null",
		"2026-11-23T12:00:00.002Z" + boot + "can0 Motion Gear null 1 1 Drive  null null null null null",
		"2026-11-23T12:00:00Z car1 tcu1 0700000000000000 3 everything can0 Motion Gear null 0 0 null null null null null null 12:00:00",
		"2026-11-23T12:00:00Z car1 tcu1 0700000000000000 3 everything can0 Motion Speed null -5 0 null km/h null null null null 12:00:00",
		"2026-11-24T12:00:00Z car1 tcu1 ab000000000000cd 2 everything can0 Motion Speed null -4.99 1 null km/h null null null null null",
		"2026-11-24T12:00:00Z car1 tcu1 ab000000000000cd 2 everything can0 Motion Gear null 1 1 Drive  null null null null null",
		"2026-11-24T12:00:00.001Z car1 tcu1 ab000000000000cd 2 everything can0 Motion Speed null -4.98 2 null km/h null null null null null",
		"2026-11-24T12:00:00.001Z car1 tcu1 ab000000000000cd 2 everything can0 Motion Gear null 1 1 Drive  null null null null null",
	})
}
