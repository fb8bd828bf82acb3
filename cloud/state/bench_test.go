package state_test

import (
	"bufio"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/schemas"
)

const recordings = "../../simulator/recordings"

// rav4 gives the recorded car's signals in batches of the given age, decoded as the processor does.
func rav4(b *testing.B, age time.Duration) (*schemas.Schema, []*batches.Batch) {
	b.Helper()
	plan := plan(b, "toyota_new_mc_pt.dbc", "toyota_adas.dbc")
	layouts := make([]int, len(plan.Layouts()))
	for i := range layouts {
		layouts[i] = i
	}
	s, _ := schemas.Of(plan.Catalogue(), "everything", "all", protocol.ModeAll, layouts, func(int) bool { return true })
	_, hash, err := s.Encode()
	if err != nil {
		b.Fatal(err)
	}
	e := batches.NewEncoder(s, hash.ID())
	var made []*batches.Batch
	seal := func() {
		id := protocol.MessageID{Device: "tcu", Boot: protocol.BootID{1}, Seq: uint64(len(made) + 1)}
		payload, err := e.Encode(batches.Header{ID: id}, nil)
		if err != nil {
			b.Fatal(err)
		}
		batch, err := batches.Decode(payload, s)
		if err != nil {
			b.Fatal(err)
		}
		made = append(made, batch)
		e.Reset()
	}
	raw := make([]int64, plan.MaxSignals())
	frames(b, func(bus string, f *can.Frame) {
		if e.Rows() > 0 && f.Time-e.First() >= age.Microseconds() {
			seal()
		}
		index := map[string]int{"can0": 0, "can1": 1}[bus]
		if layout, n := plan.Decode(index, f, raw); layout >= 0 {
			e.Add(layout, f.Time, raw[:n])
		}
	})
	seal()
	return s, made
}

func plan(b *testing.B, files ...string) *dbc.Plan {
	b.Helper()
	var in []dbc.Source
	for i, name := range files {
		text, err := os.ReadFile(filepath.Join(recordings, name))
		if err != nil {
			b.Fatal(err)
		}
		f, _, err := dbc.Parse(name, text)
		if err != nil {
			b.Fatal(err)
		}
		in = append(in, dbc.Source{Bus: "can" + string(rune('0'+i)), Files: []*dbc.File{f}})
	}
	plan, _, err := dbc.Compile(in)
	if err != nil {
		b.Fatal(err)
	}
	return plan
}

func frames(b *testing.B, each func(bus string, f *can.Frame)) {
	b.Helper()
	file, err := os.Open(filepath.Join(recordings, "rav4.log.zst"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	z, err := zstd.NewReader(file)
	if err != nil {
		b.Fatal(err)
	}
	defer z.Close()
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var f can.Frame
		bus, err := can.ParseCandump(lines.Text(), &f)
		if err != nil {
			b.Fatal(err)
		}
		each(bus, &f)
	}
}

// BenchmarkApply applies the whole recording, batch by batch, to a new vehicle.
func BenchmarkApply(b *testing.B) {
	for _, age := range []time.Duration{time.Second, 10 * time.Second} {
		b.Run(age.String(), func(b *testing.B) {
			schema, drive := rav4(b, age)
			samples := 0
			for _, batch := range drive {
				samples += batch.Samples()
			}
			received := time.UnixMicro(drive[len(drive)-1].T0).Add(time.Minute)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				s := state.New()
				for _, batch := range drive {
					s.Apply(car, schema, batch, received, false)
				}
				n += samples
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/sample")
		})
	}
}
