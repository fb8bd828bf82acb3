package agent_test

import (
	"bufio"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/agent/batch"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/campaign"
	"telltale.dev/agent/collect"
	"telltale.dev/agent/frames"
	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

const recordings = "../simulator/recordings"

type source struct {
	bus, file string
	j1939     bool
}

var rav4 = []source{{"can0", "toyota_new_mc_pt.dbc", false}, {"can1", "toyota_adas.dbc", false}}

// plan compiles DBC files of the recordings.
func plan(t testing.TB, sources []source) *dbc.Plan {
	t.Helper()
	var in []dbc.Source
	for _, s := range sources {
		text, err := os.ReadFile(filepath.Join(recordings, s.file))
		if err != nil {
			t.Fatal(err)
		}
		f, _, err := dbc.Parse(s.file, text)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, dbc.Source{Bus: s.bus, Files: []*dbc.File{f}, J1939: s.j1939})
	}
	p, _, err := dbc.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// blocks reads a recording as the driver would hand it on: blocks of one bus, in the order of time.
func blocks(t testing.TB, log string, buses []string) (list []*frames.Block) {
	t.Helper()
	file, err := os.Open(filepath.Join(recordings, log))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := zstd.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	open := make([]*frames.Block, len(buses))
	received := make([]uint64, len(buses))
	for lines := bufio.NewScanner(z); lines.Scan(); {
		var f can.Frame
		name, err := can.ParseCandump(lines.Bytes(), &f)
		if err != nil {
			t.Fatal(err)
		}
		for i, bus := range buses {
			if bus != string(name) {
				continue
			}
			received[i]++
			if open[i] == nil {
				open[i] = &frames.Block{Bus: i}
			}
			open[i].Frames = append(open[i].Frames, f)
			open[i].Received = received[i]
			if len(open[i].Frames) == frames.BlockFrames {
				list = append(list, open[i])
				open[i] = nil
			}
		}
	}
	for _, b := range open {
		if b != nil {
			list = append(list, b)
		}
	}
	return list
}

// discard is a store that forgets.
type discard struct{}

func (discard) Commit(_, _ []buffer.Record, _ buffer.Progress) error { return nil }
func (discard) PendingEvicted() []protocol.SeqRange                  { return nil }

// BenchmarkPipeline is frames → batches by the stages as they run in the agent:
// decode, collect all signals of the RAV4's drive, seal batches of 10 s with
// zstd. Times go on from drive to drive. The figure is CPU of the process per sample.
func BenchmarkPipeline(b *testing.B) {
	buses := []string{"can0", "can1"}
	p := plan(b, rav4)
	list := blocks(b, "rav4.log.zst", buses)
	log := slog.New(slog.DiscardHandler)
	free := make(chan *frames.Block, framesQueue)
	catalogue := p.Catalogue()
	decoder := signals.New(p, catalogue, buses, func(f *frames.Block) { free <- f })
	collector := collect.New(collect.Config{Log: log, Release: decoder.Release,
		Save: func(protocol.SchemaHash, []byte) error { return nil }})
	program, err := campaign.Compile(catalogue, []campaigns.Campaign{campaigns.Everything()})
	if err != nil {
		b.Fatal(err)
	}
	collector.Load(program)
	sealer := batch.New(batch.Config{Vehicle: "car", Device: "tcu", Store: discard{}, Log: log, Release: collector.Release})
	fromBus, decoded, wanted := make(chan *frames.Block, framesQueue), make(chan *signals.Block, rowsQueue), make(chan *collect.Block, rowsQueue)
	ended := make(chan error)
	go decoder.Run(fromBus, decoded)
	go collector.Run(b.Context(), decoded, wanted)
	go func() { ended <- sealer.Run(b.Context(), wanted) }()
	for range cap(free) {
		free <- &frames.Block{Frames: make([]can.Frame, 0, frames.BlockFrames)}
	}
	span := list[len(list)-1].Frames[0].Time - list[0].Frames[0].Time + 1_000_000
	offset, sent := int64(0), uint64(0)
	drive := func() {
		for _, in := range list {
			f := <-free
			f.Bus, f.Received, f.Frames = in.Bus, sent+in.Received, append(f.Frames[:0], in.Frames...)
			for i := range f.Frames {
				f.Frames[i].Time += offset
			}
			fromBus <- f
		}
		offset += span
	}
	drive() // every buffer has its size
	drive()
	before, began := sealer.Stats().Samples, cpu()
	b.ReportAllocs()
	for b.Loop() {
		drive()
	}
	close(fromBus)
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	samples := float64(sealer.Stats().Samples - before)
	b.ReportMetric(float64((cpu()-began).Nanoseconds())/samples, "cpu-ns/sample")
	b.ReportMetric(samples/float64(b.N), "samples/op")
}

// As in queues.go.
const (
	framesQueue = 64
	rowsQueue   = 16
)

// cpu is the time that the process has had of its processors.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
