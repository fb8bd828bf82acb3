package lake_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"telltale.dev/cloud/lake"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// TestOrder: batches of several vehicles, campaigns and dates, with signals of the same names in
// different schemas and times that go back, are in each file in the declared order, and samples of
// one signal and time in the order in which they were appended.
func TestOrder(t *testing.T) {
	dir, random := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	w := open(t, dir)
	s := schema(t)
	other := *s // the same signals in another order
	other.Signals = []codec.Signal{s.Signals[1], s.Signals[0], s.Signals[2]}
	schemas := []*codec.Schema{s, &other}
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	counter, rows := int64(0), 0
	for seq := range uint64(40) {
		n := random.IntN(50) + 1
		g := codec.GroupRows{Group: 0, Columns: make([][]int64, 2)}
		for range n {
			counter++
			g.Time = append(g.Time, midnight.UnixMicro()+int64(random.IntN(9)-4)*1000)
			g.Columns[0], g.Columns[1] = append(g.Columns[0], counter), append(g.Columns[1], counter)
		}
		b := &codec.Batch{Rows: []codec.GroupRows{g}}
		kind := random.IntN(2)
		b.ID = protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{7}, Seq: seq + 1}
		b.Schema = protocol.SchemaID{byte(kind)}
		vehicle := protocol.VehicleID(fmt.Sprint("car", random.IntN(3)))
		if err := w.Append(vehicle, "everything", "", midnight, schemas[kind], b); err != nil {
			t.Fatal(err)
		}
		rows += 2 * n
		if seq%20 == 19 {
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
