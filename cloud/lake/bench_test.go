package lake_test

import (
	"fmt"
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// drive is like ten seconds of a car: 60 messages of 12 signals, 100 or 10 rows a second each.
func drive(tb testing.TB) (*schemas.Schema, *batches.Batch) {
	tb.Helper()
	s := schemas.Schema{Version: schemas.Version1, Campaign: "everything", Rule: "all", Tick: 1000, Mode: protocol.ModeAll}
	b := &batches.Batch{}
	b.ID = protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{1}, Seq: 1}
	for m := range 60 {
		var members []uint32
		for k := range 12 {
			sig := signal.Signal{
				Name: fmt.Sprintf("SIGNAL_%d_%d", m, k), Unit: "km/h", Message: fmt.Sprintf("MESSAGE_%d", m), Bus: "can0",
				CAN: &signal.Bits{ID: 0x100, Start: k, Length: 12}, Scale: "0.01", Offset: "-10",
			}
			if k == 0 {
				sig.Values = map[int64]string{0: "off", 1: "on"}
			}
			members = append(members, uint32(len(s.Signals)))
			s.Signals = append(s.Signals, sig)
		}
		s.Groups = append(s.Groups, members)
		period := int64(10_000)
		if m%3 == 0 {
			period = 100_000
		}
		g := batches.GroupRows{Group: m, Columns: make([][]int64, 12)}
		for at := int64(0); at < 10_000_000; at += period {
			g.Time = append(g.Time, start.UnixMicro()+at+int64(m)*100)
			for k := range g.Columns {
				g.Columns[k] = append(g.Columns[k], (at/period*int64(k)/8)%4096*int64(min(k, 1))+at/5_000_000*int64(1-min(k, 1)))
			}
		}
		b.Rows = append(b.Rows, g)
	}
	doc, _, err := s.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	parsed, err := schemas.Parse(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return parsed, b
}

// BenchmarkLake is append and commit of a batch of half a million samples, with all its syncs.
func BenchmarkLake(b *testing.B) {
	l := open(b, b.TempDir())
	s, batch := drive(b)
	n := batch.Samples()
	b.ReportAllocs()
	var last uint64
	var appending time.Duration
	for b.Loop() {
		last++
		begin := time.Now()
		if err := l.Append("car1", s.Campaign, "", start, s, batch); err != nil {
			b.Fatal(err)
		}
		appending += time.Since(begin)
		if err := l.Commit(last, last+1, nil); err != nil {
			b.Fatal(err)
		}
	}
	rows := float64(n) * float64(b.N)
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(appending.Nanoseconds())/rows, "append-ns/row")
	b.ReportMetric(float64(l.Stats().Bytes)/rows, "file-bytes/row")
}
