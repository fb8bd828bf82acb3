package cloud_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/reasons"
)

// TestFlood: beside a vehicle whose few bytes claim millions of values, and one with the
// largest batches that are let through, another vehicle's batch is soon in the state; who
// sends too much is refused in front until it has paid.
func TestFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("measures times, which the race detector makes ten times as long")
	}
	cfg := config(t.TempDir())
	cfg.Quota.SamplesBurst = 3 << 20
	s := start(t, cfg)
	m := newTelemetry(t, "everything")
	liar, greedy, neighbour := s.device("liar", "tcu"), s.device("greedy", "tcu"), s.device("car1", "tcu")
	greedy.stored(m.schemaTopic("greedy"), m.doc)
	neighbour.stored(m.schemaTopic("car1"), m.doc)
	for seq := range 200 {
		liar.stored(m.topic("liar"), m.claiming(uint64(seq+1)))
	}
	seq := uint64(0)
	arrives := func(most time.Duration) {
		t.Helper()
		seq++
		began, before := time.Now(), cpuTime(t)
		neighbour.stored(m.topic("car1"), m.batch("tcu", seq, time.Now(), int64(5000+seq), 3))
		s.eventually(func() string {
			var signals []state.Signal
			s.get("/v1/vehicles/car1/state", &signals)
			for _, v := range signals {
				if v.Raw != nil && *v.Raw == int64(5000+seq) {
					return ""
				}
			}
			return "the neighbour's batch is not in the state"
		})
		took, work := time.Since(began), cpuTime(t)-before
		t.Logf("batch %d was in the state after %v, and %v of work", seq, took, work)
		if min(took, work) > most { // on a busy machine time passes without work
			t.Errorf("the neighbour's batch %d was in the state after %v and %v of work, want at most %v", seq, took, work, most)
		}
	}
	arrives(time.Second)
	for seq := range uint64(5) {
		greedy.send(m.topic("greedy"), m.large(seq+1))
	}
	for range 2 { // a piece of the other's work, which takes half a second on a quiet machine
		arrives(8 * time.Second)
	}
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if after.HeapInuse > 512<<20 {
		t.Errorf("%d MiB of heap are in use", after.HeapInuse>>20)
	}
	t.Logf("%d MiB of heap are in use", after.HeapInuse>>20)
	var letters []ingest.DeadLetter
	s.eventually(func() string {
		if s.get("/v1/dead-letters?limit=1000", &letters); len(letters) != 200 || letters[0].Reason != string(reasons.TooLarge) {
			return fmt.Sprintf("got %d letters, want 200 for %s", len(letters), reasons.TooLarge)
		}
		return ""
	})
	s.eventually(func() string {
		if greedy.send(m.topic("greedy"), m.batch("tcu", 1000, time.Now(), 1, 1)) != ingest.CodeQuotaExceeded {
			return "the greedy vehicle, which is in debt, is not refused"
		}
		return ""
	})
}

// cpuTime is what this process, with its cloud, has used of all processors.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// claiming makes a batch of some 50 bytes that claims 4,194,304 values.
func (m *telemetry) claiming(seq uint64) []byte {
	group := []any{0, 1 << 20, []byte{0x30, 0, 0x80, 0x80, 0xF4, 0x03}, 7, 7, 7, 7}
	id := m.hash.ID()
	return marshal(m.t, []any{1, id[:], "tcu", boot[:], seq, time.Now().UnixMilli(), []any{group}})
}

// large makes a batch of the most values that are let through, in about a kilobyte.
func (m *telemetry) large(seq uint64) []byte {
	m.t.Helper()
	e := batches.NewEncoder(m.schema, m.hash.ID())
	x, start := uint32(seq), time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range int64(batches.MaxCells / 2) {
		v := i / 4096
		if i%4096 < 2 {
			x = x*1664525 + 1013904223
			v += int64(x >> 8)
		}
		e.Add(0, start.UnixMicro()+i*1000, []int64{v, 3})
	}
	data, err := e.Encode(batches.Header{ID: protocol.MessageID{Device: "tcu", Boot: boot, Seq: seq}}, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return data
}
