package cloud_test

import (
	"testing"
	"time"
)

// TestStopIsComplete: when the cloud has stopped in order, the lake has
// everything that was acknowledged, also what came in the last moment.
func TestStopIsComplete(t *testing.T) {
	dir, m := t.TempDir(), newTelemetry(t, "everything")
	const stops, batches = 5, 5
	for n := range stops {
		s := start(t, config(dir))
		car := s.device("car1", "tcu")
		car.stored(m.schemaTopic("car1"), m.doc)
		for i := range batches {
			seq := uint64(n*batches + i + 1)
			car.stored(m.topic("car1"), m.batch("tcu", seq, time.Now(), 5000, 3))
		}
		s.stop()
		if got, want := len(s.lakeRows()), 2*batches*(n+1); got != want {
			t.Fatalf("stop %d: got %d rows in the lake, want %d", n, got, want)
		}
	}
}
