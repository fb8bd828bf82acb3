package ingest_test

import (
	"testing"

	"telltale.dev/protocol/batches"
)

// BenchmarkProcessor is a batch of 10,000 samples from the stream into Parquet.
func BenchmarkProcessor(b *testing.B) {
	k := newMaker(b)
	e := batches.NewEncoder(k.schema, k.hash.ID())
	for i := range int64(5000) {
		e.Add(0, start.UnixMicro()+i*10_000, []int64{i * 7 % 4096, i / 100 % 8})
	}
	const messages = 200
	w := newBench(b)
	for seq := range uint64(messages) {
		payload, err := e.Encode(batches.Header{Schema: k.hash.ID(), ID: k.id(seq + 1)}, nil)
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
