package drive

import (
	"fmt"
	"slices"
	"sync"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/signal"
)

// Truth decodes what goes over the buses of a hub and can say for any stretch
// of frames what an agent that received them must have found in them. Its Add
// is made for virtual.Config.Tap. It keeps 12 bytes a frame.
type Truth struct {
	plan   *dbc.Plan
	keys   []uint64 // by global signal index
	widths []uint64 // samples by layout
	floats []bool   // by global signal index: of 32 bits

	mu    sync.Mutex // guards all below
	buses []*truthBus
	raw   []int64
}

// truthBus is what is known of one bus.
type truthBus struct {
	name   string
	index  int // in the plan, −1: the plan does not know the bus
	frames uint64
	chunks []*truthChunk
	long   *truthLongs // nil: the plan has no J1939 messages of more than 8 bytes here
}

// chunkFrames are kept in one piece of memory.
const chunkFrames = 1 << 14

type truthChunk struct {
	layout [chunkFrames]int32
	sum    [chunkFrames]Checksum // of all frames of the bus up to and including this one; messages in parts are in truthLongs
}

// Sum is what a stretch of frames holds. Frames = Decoded + Unknown.
type Sum struct {
	Frames   uint64
	Decoded  uint64 // frames whose message the DBC files know
	Unknown  uint64 // the others, error frames among them
	Samples  uint64 // signals in the decoded frames
	Checksum Checksum
}

// Plus adds two sums.
func (s Sum) Plus(o Sum) Sum {
	return Sum{s.Frames + o.Frames, s.Decoded + o.Decoded, s.Unknown + o.Unknown, s.Samples + o.Samples, s.Checksum + o.Checksum}
}

// NewTruth makes a Truth that decodes with plan; frames of buses that the plan does not have are unknown.
func NewTruth(plan *dbc.Plan) *Truth {
	t := &Truth{plan: plan, raw: make([]int64, plan.MaxSignals())}
	for _, s := range plan.Signals() {
		t.keys = append(t.keys, SignalKey(s.Bus, s.Message, s.Name))
		t.floats = append(t.floats, s.IEEE == 32)
	}
	for _, l := range plan.Layouts() {
		t.widths = append(t.widths, uint64(len(l.Signals)))
	}
	return t
}

// Add takes the next frames of a bus; first is the index of the first. They must come without a gap, from 0 on.
func (t *Truth) Add(bus string, first uint64, frames []can.Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.bus(bus)
	if b == nil {
		b = &truthBus{name: bus, index: slices.Index(t.plan.Buses(), bus)}
		if t.plan.Long(b.index) {
			b.long = &truthLongs{began: map[can.ID]uint64{}}
		}
		t.buses = append(t.buses, b)
	}
	if first != b.frames {
		panic(fmt.Sprintf("truth of %s: frame %d follows %d frames", bus, first, b.frames))
	}
	for i := range frames {
		t.add(b, &frames[i])
	}
}

// float32s are the numbers of floats of 32 bits.
var float32s = signal.Number{IEEE: 32}

// add decodes one frame.
func (t *Truth) add(b *truthBus, f *can.Frame) {
	at, sum := b.frames%chunkFrames, b.sum(b.frames)
	if at == 0 {
		b.chunks = append(b.chunks, new(truthChunk))
	}
	layout, n := t.plan.Decode(b.index, f, t.raw)
	sum += t.samples(layout, n, f.Time)
	if b.long != nil {
		t.addPart(b, f)
	}
	chunk := b.chunks[len(b.chunks)-1]
	chunk.layout[at], chunk.sum[at] = int32(layout), sum
	b.frames++
}

// samples gives the checksum of the n values in raw.
func (t *Truth) samples(layout, n int, at int64) (sum Checksum) {
	if n == 0 {
		return 0
	}
	time := timeKey(milliseconds(at))
	for i, index := range t.plan.Layouts()[layout].Signals[:n] {
		raw := t.raw[i]
		if t.floats[index] {
			raw = int64(float32s.Bits(raw))
		}
		sum += sampleSum(t.keys[index], time, raw)
	}
	return sum
}

// sum gives the checksum of the first n frames, but for messages that came in parts.
func (b *truthBus) sum(n uint64) Checksum {
	if n == 0 {
		return 0
	}
	return b.chunks[(n-1)/chunkFrames].sum[(n-1)%chunkFrames]
}

// bus finds a bus, nil when none of its frames has come. Callers hold mu.
func (t *Truth) bus(name string) *truthBus {
	for _, b := range t.buses {
		if b.name == name {
			return b
		}
	}
	return nil
}

// Frames gives the number of frames of a bus so far.
func (t *Truth) Frames(bus string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.bus(bus); b != nil {
		return b.frames
	}
	return 0
}

// All sums up everything on every bus.
func (t *Truth) All() Sum {
	t.mu.Lock()
	names := make([]string, len(t.buses))
	for i, b := range t.buses {
		names[i] = b.name
	}
	t.mu.Unlock()
	total := Sum{}
	for _, name := range names {
		total = total.Plus(t.Sum(name, virtual.Range{End: 1<<64 - 1}))
	}
	return total
}

// Sum says what stretches of one bus hold. What lies behind the newest frame counts nothing; stretches must not overlap.
// A J1939 message that came in parts counts when all its frames are in one stretch.
func (t *Truth) Sum(bus string, stretches ...virtual.Range) Sum {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Sum{}
	b := t.bus(bus)
	if b == nil {
		return s
	}
	for _, r := range stretches {
		first, end := min(r.First, b.frames), min(r.End, b.frames)
		if first >= end {
			continue
		}
		s.Checksum += b.sum(end) - b.sum(first)
		s.Frames += end - first
		b.each(first, end, func(layout int32) {
			switch {
			case layout >= 0:
				s.Samples += t.widths[layout]
				s.Decoded++
			case layout == dbc.Unknown:
				s.Unknown++
			default:
				s.Decoded++
			}
		})
		for _, m := range b.long.within(first, end) {
			s.Samples += t.widths[m.layout]
			s.Checksum += m.sum
		}
	}
	return s
}

// Signals counts the samples of each signal in stretches of one bus; the position is that of dbc.Plan.Signals.
func (t *Truth) Signals(bus string, stretches ...virtual.Range) []uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := make([]uint64, len(t.keys))
	b := t.bus(bus)
	if b == nil {
		return counts
	}
	byLayout := make([]uint64, len(t.widths))
	for _, r := range stretches {
		first, end := min(r.First, b.frames), min(r.End, b.frames)
		b.each(first, end, func(layout int32) {
			if layout >= 0 {
				byLayout[layout]++
			}
		})
		for _, m := range b.long.within(first, end) {
			byLayout[m.layout]++
		}
	}
	for i, n := range byLayout {
		for _, signal := range t.plan.Layouts()[i].Signals {
			counts[signal] += n
		}
	}
	return counts
}

// each calls f with the layout of each frame from first to before end.
func (b *truthBus) each(first, end uint64, f func(layout int32)) {
	for first < end {
		chunk, at := b.chunks[first/chunkFrames], first%chunkFrames
		n := min(chunkFrames-at, end-first)
		for _, layout := range chunk.layout[at : at+n] {
			f(layout)
		}
		first += n
	}
}
