package codec_test

import (
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// BenchmarkEverything encodes all signals of a recording in batches of 10 s.
func BenchmarkEverything(b *testing.B) {
	for _, name := range []string{"rav4", "truck1", "canmod1"} {
		b.Run(name, func(b *testing.B) {
			r := load(b, name)
			s, id := r.schema(b, protocol.ModeAll)
			e := codec.NewEncoder(s, id)
			b.ReportAllocs()
			bytes := 0
			for b.Loop() {
				bytes = 0
				var payload []byte
				seal := func() {
					var err error
					if payload, err = e.Encode(header, payload[:0]); err != nil {
						b.Fatal(err)
					}
					bytes += len(payload)
					e.Reset()
				}
				for i := range r.rows {
					row := &r.rows[i]
					if e.Rows() > 0 && row.at-e.First() >= 10*time.Second.Microseconds() {
						seal()
					}
					e.Add(row.group, row.at, row.raw)
				}
				seal()
			}
			b.ReportMetric(float64(bytes)/float64(r.samples), "B/sample")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(r.samples), "ns/sample")
		})
	}
}

func TestSchemaSize(t *testing.T) {
	for name := range sources {
		r := load(t, name)
		s, _ := r.schema(t, protocol.ModeAll)
		doc, _, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		packed, _ := codec.Pack(doc)
		t.Log(name, len(s.Signals), "signals", len(s.Groups), "groups", len(doc), "bytes", len(packed), "packed", r.samples, "samples", len(r.rows), "rows")
	}
}
