package ledger_test

import (
	"fmt"
	"testing"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
)

// BenchmarkSnapshot is the ledger of 10,000 vehicles with 20 boots each, as every commit writes it.
func BenchmarkSnapshot(b *testing.B) {
	l := ledger.New(0, 0)
	for v := range 10_000 {
		vid := protocol.VehicleID(fmt.Sprint("vehicle-", v))
		for boot := range byte(20) {
			for _, seq := range []uint64{1, 2, 3, 7, 8, 20} {
				l.Receive(vid, protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{boot}, Seq: seq}, ledger.Receipt{Sequence: seq})
			}
		}
	}
	b.ReportAllocs()
	var size int
	for b.Loop() {
		size = len(l.Snapshot())
	}
	b.ReportMetric(float64(size), "bytes")
}
