// Package signals is the stage that decodes frames into rows of raw signal
// values with a compiled DBC plan.
//
// A row is what one frame says, or a J1939 message that came in several: its time, its group (which signals came
// together) and their raw values. Physical values are the cloud's business.
//
// The plan can be replaced while frames come: each frame is decoded by one plan,
// and each block says of which catalogue its rows are.
package signals

import (
	"slices"
	"sync"
	"sync/atomic"

	"telltale.dev/agent/frames"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/j1939"
	"telltale.dev/protocol/signal"
)

// Row is one decoded frame, or a J1939 message of more than 8 bytes with the time of its last frame. Its values are Raw[Offset:Offset+Count] of its block, in the group's order.
type Row struct {
	Time   int64 // µs since the Unix epoch
	Group  int32 // position in the groups of the block's catalogue
	Offset int32
	Count  int32
}

// Account counts what the pipeline has seen since the agent started.
type Account struct {
	Received uint64 // frames read
	Dropped  uint64 // frames that the drivers lost
	Decoded  uint64 // frames whose identifier the plan knows
	Unknown  uint64 // the others
	// Seen is received plus dropped of each input: where in the bus's sequence of frames we are.
	Seen []uint64
}

// CopyFrom makes a the same as b without sharing memory.
func (a *Account) CopyFrom(b *Account) {
	seen := append(a.Seen[:0], b.Seen...)
	*a = *b
	a.Seen = seen
}

// Equal says whether a and b count the same.
func (a *Account) Equal(b *Account) bool {
	return a.Received == b.Received && a.Dropped == b.Dropped && a.Decoded == b.Decoded && a.Unknown == b.Unknown &&
		slices.Equal(a.Seen, b.Seen)
}

// Block is a run of rows that share their memory.
type Block struct {
	Rows []Row
	Raw  []int64
	// Catalogue says what the rows' groups are. Its pointer tells one plan from the next.
	Catalogue *signal.Catalogue
	// Now is the time of the newest frame, in µs since the Unix epoch, also when it made no row.
	Now int64
	// Account is as of the end of the block.
	Account Account
}

// Values gives the raw values of r.
func (b *Block) Values(r *Row) []int64 { return b.Raw[r.Offset : r.Offset+r.Count] }

// Decoder turns frame blocks into row blocks.
type Decoder struct {
	inputs  []string
	release func(*frames.Block)
	free    sync.Pool
	given   atomic.Pointer[decoding] // by Swap; Run has not seen it yet
	wake    chan struct{}            // given has something

	// Owned by Run.
	*decoding
	dropped []uint64
	latest  int64 // time of the newest frame
	account Account
	long    []*j1939.Assembler // by input; nil: the plan has no J1939 messages of more than 8 bytes there
	before  []j1939.Counts     // by input: of assemblers that a plan needed before this one

	mu     sync.Mutex // guards all below
	counts []j1939.Counts
}

// decoding is a plan with what is made of it.
type decoding struct {
	plan      *dbc.Plan
	catalogue *signal.Catalogue
	buses     []int // input index → plan's bus index, -1: no DBC for it
}

// New makes a Decoder for inputs in the given order of names; a bus that the plan does not have counts as unknown
// frames. The catalogue is the plan's.
func New(plan *dbc.Plan, catalogue *signal.Catalogue, inputs []string, release func(*frames.Block)) *Decoder {
	d := &Decoder{inputs: inputs, release: release, dropped: make([]uint64, len(inputs)), wake: make(chan struct{}, 1)}
	d.account.Seen = make([]uint64, len(inputs))
	d.long, d.counts = make([]*j1939.Assembler, len(inputs)), make([]j1939.Counts, len(inputs))
	d.before = make([]j1939.Counts, len(inputs))
	d.use(d.decodingBy(plan, catalogue))
	d.free.New = func() any { return new(Block) }
	return d
}

func (d *Decoder) decodingBy(plan *dbc.Plan, catalogue *signal.Catalogue) *decoding {
	by := &decoding{plan: plan, catalogue: catalogue}
	for _, name := range d.inputs {
		by.buses = append(by.buses, slices.Index(plan.Buses(), name))
	}
	return by
}

// Swap replaces the plan, from the next block of frames on; a block without rows
// says so when no frames come. Whoever reads the blocks must know of the catalogue
// before. Swap may be called from any goroutine and does not wait.
func (d *Decoder) Swap(plan *dbc.Plan, catalogue *signal.Catalogue) {
	d.given.Store(d.decodingBy(plan, catalogue))
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// adopt takes the plan that Swap gave, if there is one.
func (d *Decoder) adopt() {
	if given := d.given.Swap(nil); given != nil {
		d.use(given)
	}
}

// use decodes by a plan from now on. J1939 messages that are open stay so where both plans have long ones.
func (d *Decoder) use(by *decoding) {
	d.decoding = by
	for i, bus := range by.buses {
		switch {
		case !by.plan.Long(bus):
			if d.long[i] == nil {
				continue
			}
			d.long[i].Drop(j1939.FramesLost) // nobody looks at the frames that come
			d.count(i)
			d.before[i], d.long[i] = d.before[i].Plus(d.long[i].Counts()), nil
		case d.long[i] == nil:
			d.long[i] = new(j1939.Assembler)
		}
	}
}

// count makes the counts of an input known.
func (d *Decoder) count(input int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[input] = d.before[input].Plus(d.long[input].Counts())
}

// Long says what became of the J1939 messages of more than 8 bytes on each input, since the agent started. It may be called from any goroutine.
func (d *Decoder) Long() []j1939.Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.counts)
}

// Release gives a block back.
func (d *Decoder) Release(b *Block) { d.free.Put(b) }

// Run decodes until in is closed, then closes out. Whoever reads out must go on until it is closed.
func (d *Decoder) Run(in <-chan *frames.Block, out chan<- *Block) error {
	defer close(out)
	for {
		b := d.free.Get().(*Block)
		select {
		case fb, ok := <-in:
			if !ok {
				return nil
			}
			d.Decode(fb, b)
			d.release(fb)
		case <-d.wake:
			d.adopt()
			b.Rows, b.Raw = b.Rows[:0], b.Raw[:0]
			d.finish(b)
		}
		out <- b
	}
}

// finish says of a block what it is of.
func (d *Decoder) finish(b *Block) {
	b.Catalogue, b.Now = d.catalogue, d.latest
	b.Account.CopyFrom(&d.account)
}

// Decode fills b from one block of frames.
func (d *Decoder) Decode(fb *frames.Block, b *Block) {
	d.adopt()
	bus, most := d.buses[fb.Bus], d.plan.MaxSignals()
	b.Rows, b.Raw = b.Rows[:0], b.Raw[:0]
	if n := len(fb.Frames); n > 0 {
		d.latest = fb.Frames[n-1].Time
	}
	long := d.long[fb.Bus]
	if long != nil && fb.Gap {
		long.Drop(j1939.FramesLost)
	}
	for i := range fb.Frames {
		f := &fb.Frames[i]
		group, n := dbc.Unknown, 0
		if bus >= 0 {
			b.Raw = reserve(b.Raw, most)
			group, n = d.plan.Decode(bus, f, b.Raw[len(b.Raw):len(b.Raw)+most])
		}
		if group == dbc.Unknown {
			d.account.Unknown++
		} else {
			d.account.Decoded++
		}
		if n > 0 {
			b.add(f.Time, group, n)
		}
		if long != nil && j1939.Carries(f.ID) {
			d.assemble(long, bus, f, b)
		}
	}
	if long != nil {
		d.count(fb.Bus)
	}
	d.account.Received += uint64(len(fb.Frames))
	d.account.Dropped += fb.Dropped - d.dropped[fb.Bus]
	d.dropped[fb.Bus] = fb.Dropped
	d.account.Seen[fb.Bus] = fb.Received + fb.Dropped
	d.finish(b)
}

// add makes a row of the n values behind b.Raw.
func (b *Block) add(time int64, group, n int) {
	b.Rows = append(b.Rows, Row{Time: time, Group: int32(group), Offset: int32(len(b.Raw)), Count: int32(n)})
	b.Raw = b.Raw[:len(b.Raw)+n]
}

// assemble takes a frame of the transport protocol. With the last part of a message that the plan has, b gets its row.
func (d *Decoder) assemble(long *j1939.Assembler, bus int, f *can.Frame, b *Block) {
	m := long.Add(f)
	if m == nil {
		return
	}
	most := d.plan.MaxSignals()
	b.Raw = reserve(b.Raw, most)
	group, n := d.plan.DecodeLong(bus, m.ID(), m.Data, b.Raw[len(b.Raw):len(b.Raw)+most])
	if n > 0 {
		b.add(m.Last, group, n)
	}
}

// reserve makes sure that n more values fit behind raw.
func reserve(raw []int64, n int) []int64 {
	if cap(raw)-len(raw) >= n {
		return raw
	}
	grown := make([]int64, len(raw), 2*cap(raw)+n)
	copy(grown, raw)
	return grown
}
