package batch_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/campaign"
	"telltale.dev/agent/collect"
	"telltale.dev/agent/frames"
	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

const recordings = "../../simulator/recordings"

// inputs are the agent's buses. can2 is made up, for the sake of multiplexing; can3 has no DBC.
var inputs = []string{"can0", "can1", "can2", "can3"}

// madeUp has signals that several layouts carry: Page and Level.
const madeUp = `VERSION ""
BU_: ECU
BO_ 256 PAGES: 8 ECU
 SG_ Page M : 0|2@1+ (1,0) [0|3] "" ECU
 SG_ Pressure m0 : 8|8@1+ (0.5,0) [0|100] "bar" ECU
 SG_ Heat m1 : 8|8@1- (1,-40) [0|100] "C" ECU
 SG_ Level : 16|8@1+ (1,0) [0|255] "" ECU
`

// pages are frames for it, on whole milliseconds.
func pages(n int, start int64) (list []can.Frame) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		f := can.Frame{Time: start - start%1000 + int64(i)*1000, ID: 256, Len: 8}
		f.Data[0], f.Data[1], f.Data[2] = byte(random.IntN(4)), byte(random.IntN(5)), byte(random.IntN(3))
		list = append(list, f)
	}
	return list
}

// recording is the RAV4's drive: its plan, and its frames by bus.
type recording struct {
	plan   *dbc.Plan
	frames [][]can.Frame
	all    []numbered // in the order of the log
}

type numbered struct {
	bus   int
	frame can.Frame
}

var rav4 = sync.OnceValue(func() *recording {
	r := &recording{frames: make([][]can.Frame, len(inputs))}
	var sources []dbc.Source
	for i, file := range []string{"toyota_new_mc_pt.dbc", "toyota_adas.dbc"} {
		text, err := os.ReadFile(filepath.Join(recordings, file))
		if err != nil {
			panic(err)
		}
		f, _, err := dbc.Parse(file, text)
		if err != nil {
			panic(err)
		}
		sources = append(sources, dbc.Source{Bus: inputs[i], Files: []*dbc.File{f}})
	}
	f, _, err := dbc.Parse("made-up.dbc", []byte(madeUp))
	if err != nil {
		panic(err)
	}
	sources = append(sources, dbc.Source{Bus: inputs[2], Files: []*dbc.File{f}})
	plan, _, err := dbc.Compile(sources)
	if err != nil {
		panic(err)
	}
	r.plan = plan
	if err := r.read("rav4.log.zst"); err != nil {
		panic(err)
	}
	r.frames[2] = pages(20_000, r.frames[0][0].Time)
	r.frames[3] = r.frames[0]
	return r
})

func (r *recording) read(name string) error {
	file, err := os.Open(filepath.Join(recordings, name))
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := zstd.NewReader(file)
	if err != nil {
		return err
	}
	defer z.Close()
	for lines := bufio.NewScanner(z); lines.Scan(); {
		var f can.Frame
		bus, err := can.ParseCandump(lines.Bytes(), &f)
		if err != nil {
			return err
		}
		for i, name := range inputs {
			if name == string(bus) {
				r.frames[i] = append(r.frames[i], f)
				r.all = append(r.all, numbered{i, f})
			}
		}
	}
	return nil
}

// sample is one value as the cloud would see it.
type sample struct {
	campaign, rule, bus, message, signal string
	time, raw                            int64 // µs cut to ms
}

// pipeline is the part of the agent from decoding to the buffer, one block at a time.
type pipeline struct {
	t         testing.TB
	catalogue *signal.Catalogue
	decoder   *signals.Decoder
	collector *collect.Collector
	sealed    func(*collect.Block)
	in        chan *signals.Block
	out       chan *collect.Block
	schemas   map[protocol.SchemaHash][]byte
	received  []uint64
}

func newPipeline(t testing.TB, r *recording, add func(*collect.Block)) *pipeline {
	p := &pipeline{
		t: t, sealed: add, in: make(chan *signals.Block), out: make(chan *collect.Block),
		schemas: map[protocol.SchemaHash][]byte{}, received: make([]uint64, len(inputs)),
	}
	p.catalogue = r.plan.Catalogue()
	p.decoder = signals.New(r.plan, p.catalogue, inputs, func(*frames.Block) {})
	p.collector = collect.New(collect.Config{Release: p.decoder.Release, Log: slog.New(slog.DiscardHandler), Save: p.save})
	go p.collector.Run(t.Context(), p.in, p.out)
	p.in <- &signals.Block{Catalogue: p.catalogue} // from here on each change gives a block
	p.collector.Release(<-p.out)
	return p
}

// save keeps a schema.
func (p *pipeline) save(h protocol.SchemaHash, doc []byte) error {
	if sha256.Sum256(doc) != h {
		return fmt.Errorf("schema has another hash")
	}
	p.schemas[h] = doc
	return nil
}

// feed sends a block of frames through.
func (p *pipeline) feed(bus int, list []can.Frame) {
	p.received[bus] += uint64(len(list))
	b := new(signals.Block)
	p.decoder.Decode(&frames.Block{Bus: bus, Frames: list, Received: p.received[bus]}, b)
	for p.in != nil {
		select {
		case p.in <- b:
			p.handle(<-p.out)
			return
		case idle := <-p.out:
			p.handle(idle)
		}
	}
}

func (p *pipeline) handle(b *collect.Block) {
	p.sealed(b)
	p.collector.Release(b)
}

// collect puts campaigns in force.
func (p *pipeline) collect(set ...campaigns.Campaign) {
	p.t.Helper()
	program, err := campaign.Compile(p.catalogue, set)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range program.Rules {
		if err := p.save(r.Format.Hash, r.Format.Document); err != nil {
			p.t.Fatal(err)
		}
	}
	p.collector.Load(program)
	p.handle(<-p.out)
}

// end closes the stages before the sealer.
func (p *pipeline) end() {
	close(p.in)
	for b := range p.out {
		p.handle(b)
	}
}

// decode gives the samples of a record.
func (p *pipeline) decode(r *buffer.Record) []sample {
	p.t.Helper()
	doc, ok := p.schemas[r.Schema]
	if !ok {
		p.t.Fatalf("batch %d: its schema was never kept", r.ID.Seq)
	}
	schema, err := schemas.Parse(doc)
	if err != nil {
		p.t.Fatal(err)
	}
	b, err := batches.Decode(r.Payload, schema)
	if err != nil {
		p.t.Fatal(err)
	}
	if b.ID != r.ID {
		p.t.Errorf("payload says %v, record %v", b.ID, r.ID)
	}
	var out []sample
	for i := range b.Rows {
		g := &b.Rows[i]
		for row, at := range g.Time {
			for c, m := range schema.Groups[g.Group] {
				if s := &schema.Signals[m]; g.Has(c, row) {
					out = append(out, sample{string(schema.Campaign), schema.Rule, s.Bus, s.Message, s.Name, at, g.Columns[c][row]})
				}
			}
		}
	}
	if len(out) != int(r.Samples) {
		p.t.Errorf("batch %d: %d samples, the record says %d", r.ID.Seq, len(out), r.Samples)
	}
	return out
}

// records reads all that waits in a buffer.
func records(t testing.TB, b *buffer.Buffer) (all []buffer.Record) {
	t.Helper()
	for _, class := range b.Classes() {
		for after := (buffer.Position{}); ; {
			entries, err := b.Read(after, class, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) == 0 {
				break
			}
			for _, e := range entries {
				all = append(all, e.Record)
				after = e.Position
			}
		}
	}
	return all
}
