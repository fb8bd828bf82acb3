package batches_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/schemas"
)

var names = []string{"rav4", "truck1", "canmod1", "ev6"}

// drive feeds a recording to an Encoder and calls seal at each batch.
func drive(e *batches.Encoder, rows []row, age time.Duration, seal func()) {
	for i := range rows {
		r := &rows[i]
		if e.Rows() > 0 && r.at-e.First() >= age.Microseconds() {
			seal()
		}
		if r.present != nil {
			e.AddChanged(r.group, r.at, r.raw, r.present)
		} else {
			e.Add(r.group, r.at, r.raw)
		}
	}
	seal()
}

// benchmark encodes rows in batches and reports bytes and time per sample.
func benchmark(b *testing.B, s *schemas.Schema, rows []row, age time.Duration) {
	e := batches.NewEncoder(s, protocol.SchemaID{1})
	size, samples := 0, 0
	var payload []byte
	seal := func() {
		var err error
		if payload, err = e.Encode(batchestest.Header, payload[:0]); err != nil {
			b.Fatal(err)
		}
		size += len(payload)
		samples += e.Samples()
		e.Reset()
	}
	drive(e, rows, age, seal)
	perSample := float64(size) / float64(samples)
	b.ReportAllocs()
	samples = 0
	for b.Loop() {
		drive(e, rows, age, seal)
	}
	b.ReportMetric(perSample, "B/sample")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(samples), "ns/sample")
}

// BenchmarkEverything encodes all signals in batches of 10 s.
func BenchmarkEverything(b *testing.B) {
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			r := load(b, name)
			s, _ := r.schema(b, protocol.ModeAll)
			benchmark(b, s, r.rows, 10*time.Second)
		})
	}
}

// BenchmarkChanges encodes the samples that differ from the one before in batches of 10 s.
func BenchmarkChanges(b *testing.B) {
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			r := load(b, name)
			s, _ := r.schema(b, protocol.ModeOnChange)
			benchmark(b, s, r.changes(s), 10*time.Second)
		})
	}
}

// BenchmarkGrid encodes 48 signals at 1 Hz in batches of 60 s.
func BenchmarkGrid(b *testing.B) {
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			s, rows := load(b, name).grid(b, 48)
			benchmark(b, s, rows, time.Minute)
		})
	}
}

// BenchmarkDecode decodes batches of 10 s.
func BenchmarkDecode(b *testing.B) {
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			r := load(b, name)
			s, id := r.schema(b, protocol.ModeAll)
			e := batches.NewEncoder(s, id)
			var payloads [][]byte
			drive(e, r.rows, 10*time.Second, func() {
				payload, err := e.Encode(batchestest.Header, nil)
				if err != nil {
					b.Fatal(err)
				}
				payloads = append(payloads, payload)
				e.Reset()
			})
			b.ReportAllocs()
			for b.Loop() {
				for _, payload := range payloads {
					if _, err := batches.Decode(payload, s); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*r.samples), "ns/sample")
		})
	}
}

// BenchmarkParseHeader reads the header of a batch of 10 s.
func BenchmarkParseHeader(b *testing.B) {
	r := load(b, "rav4")
	s, id := r.schema(b, protocol.ModeAll)
	e := batches.NewEncoder(s, id)
	for _, row := range r.rows[:10_000] {
		e.Add(row.group, row.at, row.raw)
	}
	payload, err := e.Encode(batchestest.Header, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := batches.ParseHeader(payload); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJSON is what to compare with: the same samples of the first minute as
// JSON, one object for each row, compressed by gzip in batches of 10 s.
func BenchmarkJSON(b *testing.B) {
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			r := load(b, name)
			s, _ := r.schema(b, protocol.ModeAll)
			end := slices.IndexFunc(r.rows, func(x row) bool { return x.at-r.rows[0].at > time.Minute.Microseconds() })
			if end < 0 {
				end = len(r.rows)
			}
			size, samples := 0, 0
			for b.Loop() {
				size, samples = jsonSize(b, s, r.rows[:end], 10*time.Second)
			}
			b.ReportMetric(float64(size)/float64(samples), "B/sample")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/sample")
		})
	}
}

func jsonSize(b *testing.B, s *schemas.Schema, rows []row, age time.Duration) (size, samples int) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	first := rows[0].at
	for _, row := range rows {
		if row.at-first >= age.Microseconds() {
			z.Close()
			z.Reset(&out)
			first = row.at
		}
		values := make(map[string]float64, len(row.raw))
		for c, m := range s.Groups[row.group] {
			values[s.Signals[m].Name] = s.Signals[m].Physical(row.raw[c])
		}
		samples += len(row.raw)
		line, err := json.Marshal(map[string]any{"t": row.at / 1000, "m": s.Signals[s.Groups[row.group][0]].Message, "v": values})
		if err != nil {
			b.Fatal(err)
		}
		z.Write(append(line, '\n'))
	}
	z.Close()
	return out.Len(), samples
}

// changes gives the rows of ModeOnChange: a signal is present where it differs from its last sample, in whatever group that was.
func (r *recording) changes(s *schemas.Schema) []row {
	last := map[uint32]int64{}
	var out []row
	for _, in := range r.rows {
		present := make([]uint64, (len(in.raw)+63)/64)
		changed := false
		for c, m := range s.Groups[in.group] {
			if v, ok := last[m]; !ok || v != in.raw[c] {
				last[m] = in.raw[c]
				present[c/64] |= 1 << (c % 64)
				changed = true
			}
		}
		if changed {
			in.present = present
			out = append(out, in)
		}
	}
	return out
}

// grid gives the last values of n signals once per second, group by group, as
// the agent's grid rules do. The signals are drawn from those that are in the log.
func (r *recording) grid(t testing.TB, n int) (*schemas.Schema, []row) {
	t.Helper()
	seen := map[int32]bool{}
	for _, in := range r.rows {
		for _, signal := range r.plan.Layouts()[r.layouts[in.group]].Signals {
			seen[signal] = true
		}
	}
	var pool []int32
	for signal := range seen {
		pool = append(pool, signal)
	}
	slices.Sort(pool)
	random := rand.New(rand.NewPCG(4, 4))
	random.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
	pool = pool[:min(n, len(pool))]
	s, take := schemas.Of(r.plan.Catalogue(), "grid", "slow", protocol.ModeGrid, r.layouts, func(signal int) bool {
		return slices.Contains(pool, int32(signal))
	})
	group := map[int]int{} // of a layout's position
	for at, l := range r.layouts {
		for _, signal := range r.plan.Layouts()[l].Signals {
			if slices.Contains(pool, signal) {
				group[at] = len(group)
				break
			}
		}
	}
	return s, gridRows(r.rows, group, take)
}

func gridRows(rows []row, group map[int]int, take [][]int) (out []row) {
	latest := make([]*row, len(take))
	second := rows[0].at / 1e6
	for i := range rows {
		in := &rows[i]
		for ; in.at/1e6 > second; second++ {
			for g, last := range latest {
				if last == nil {
					continue
				}
				raw := make([]int64, len(take[g]))
				for c, at := range take[g] {
					raw[c] = last.raw[at]
				}
				out = append(out, row{at: (second + 1) * 1e6, group: g, raw: raw})
				latest[g] = nil
			}
		}
		if g, ok := group[in.group]; ok {
			latest[g] = in
		}
	}
	return out
}
