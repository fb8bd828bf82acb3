package cloud_test

import (
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// TestStopIsComplete: when the cloud has stopped in order, the lake has
// everything that was acknowledged, also what came in the last moment.
func TestStopIsComplete(t *testing.T) {
	const stops, each, rows = 2, 4, 30_000 // large ones: the processor is behind when the stop comes
	dir, m := t.TempDir(), newTelemetry(t, "everything")
	for n := range stops {
		s := start(t, config(dir))
		car := s.device("car1", "tcu")
		car.stored(m.schemaTopic("car1"), m.doc)
		for i := range each {
			e := batches.NewEncoder(m.schema, m.hash.ID())
			for k := range rows {
				e.Add(0, time.Unix(1_700_000_000, 0).UnixMicro()+int64(k)*1000, []int64{5000 + int64(k*k%101), 3})
			}
			h := batches.Header{ID: protocol.MessageID{Device: "tcu", Boot: boot, Seq: uint64(n*each + i + 1)}}
			data, err := e.Encode(h, nil)
			if err != nil {
				t.Fatal(err)
			}
			car.stored(m.topic("car1"), data)
		}
		s.stop()
		if got, want := len(s.lakeRows()), 2*rows*each*(n+1); got != want {
			t.Fatalf("stop %d: got %d rows in the lake, want %d", n+1, got, want)
		}
	}
}
