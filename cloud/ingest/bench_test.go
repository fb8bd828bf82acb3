package ingest_test

import (
	"fmt"
	"testing"

	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// BenchmarkProcessor is a batch of 10,000 samples from the stream into Parquet.
func BenchmarkProcessor(b *testing.B) {
	k := newMaker(b)
	e := codec.NewEncoder(k.schema, k.hash.ID())
	for i := range int64(5000) {
		e.Add(0, start.UnixMicro()+i*10_000, []int64{i * 7 % 4096, i / 100 % 8})
	}
	const messages = 200
	w := newBench(b)
	for seq := range uint64(messages) {
		payload, err := e.Encode(codec.Header{Schema: k.hash.ID(), ID: k.id(seq + 1)}, nil)
		if err != nil {
			b.Fatal(err)
		}
		w.up.Publish(k.message(payload, k.id(seq+1).String()), func(uint64, error) {})
	}
	b.ReportAllocs()
	for b.Loop() {
		w.dir = b.TempDir()
		p, stop := w.start()
		w.flush(p)
		if err := stop(); err != nil {
			b.Fatal(err)
		}
		if got := p.Stats().Samples; got != messages*10_000 {
			b.Fatalf("got %d samples, want %d", got, messages*10_000)
		}
	}
	b.ReportMetric(float64(messages*10_000*b.N)/b.Elapsed().Seconds(), "samples/s")
}

// BenchmarkSnapshot is the ledger of 10,000 vehicles with 20 boots each, as every commit writes it.
func BenchmarkSnapshot(b *testing.B) {
	l := ingest.NewLedger(0, 0)
	for v := range 10_000 {
		vid := protocol.VehicleID(fmt.Sprint("vehicle-", v))
		for boot := range byte(20) {
			for _, seq := range []uint64{1, 2, 3, 7, 8, 20} {
				l.Receive(vid, protocol.MessageID{Device: "tcu1", Boot: protocol.BootID{boot}, Seq: seq}, ingest.Receipt{Sequence: seq})
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
