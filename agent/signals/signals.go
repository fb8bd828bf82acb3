// Package signals is the stage that decodes frames into rows of raw signal
// values with a compiled DBC plan.
//
// A row is what one frame says: its time, its layout (which signals came
// together) and their raw values. Physical values are the cloud's business.
package signals

import (
	"slices"
	"sync"

	"telltale.dev/agent/frames"
	"telltale.dev/protocol/dbc"
)

// Row is one decoded frame. Its values are Raw[Offset:Offset+Count] of its block, in the layout's order.
type Row struct {
	Time   int64 // µs since the Unix epoch
	Layout int32 // index into the plan's layouts
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
	// Bus is the plan's index of the bus that all rows come from; -1: no DBC for it.
	Bus int
	// Now is the time of the newest frame, in µs since the Unix epoch, also when it made no row.
	Now int64
	// Account is as of the end of the block.
	Account Account
}

// Values gives the raw values of r.
func (b *Block) Values(r *Row) []int64 { return b.Raw[r.Offset : r.Offset+r.Count] }

// Decoder turns frame blocks into row blocks. Run owns its fields, but for free.
type Decoder struct {
	plan    *dbc.Plan
	buses   []int // input index → plan's bus index, -1: no DBC for it
	release func(*frames.Block)
	dropped []uint64
	latest  int64 // time of the newest frame
	account Account
	free    sync.Pool
}

// New makes a Decoder for inputs in the given order of names; a bus that the plan does not have counts as unknown frames.
func New(plan *dbc.Plan, inputs []string, release func(*frames.Block)) *Decoder {
	d := &Decoder{plan: plan, release: release, dropped: make([]uint64, len(inputs))}
	d.account.Seen = make([]uint64, len(inputs))
	for _, name := range inputs {
		index := -1
		for i, bus := range plan.Buses() {
			if bus == name {
				index = i
			}
		}
		d.buses = append(d.buses, index)
	}
	d.free.New = func() any { return new(Block) }
	return d
}

// Release gives a block back.
func (d *Decoder) Release(b *Block) { d.free.Put(b) }

// Run decodes until in is closed, then closes out. Whoever reads out must go on until it is closed.
func (d *Decoder) Run(in <-chan *frames.Block, out chan<- *Block) error {
	defer close(out)
	for fb := range in {
		b := d.free.Get().(*Block)
		d.Decode(fb, b)
		d.release(fb)
		out <- b
	}
	return nil
}

// Decode fills b from one block of frames.
func (d *Decoder) Decode(fb *frames.Block, b *Block) {
	bus, most := d.buses[fb.Bus], d.plan.MaxSignals()
	b.Rows, b.Raw, b.Bus = b.Rows[:0], b.Raw[:0], bus
	if n := len(fb.Frames); n > 0 {
		d.latest = fb.Frames[n-1].Time
	}
	b.Now = d.latest
	for i := range fb.Frames {
		f := &fb.Frames[i]
		layout, n := dbc.Unknown, 0
		if bus >= 0 {
			b.Raw = reserve(b.Raw, most)
			layout, n = d.plan.Decode(bus, f, b.Raw[len(b.Raw):len(b.Raw)+most])
		}
		if layout == dbc.Unknown {
			d.account.Unknown++
			continue
		}
		d.account.Decoded++
		if n > 0 {
			b.Rows = append(b.Rows, Row{Time: f.Time, Layout: int32(layout), Offset: int32(len(b.Raw)), Count: int32(n)})
			b.Raw = b.Raw[:len(b.Raw)+n]
		}
	}
	d.account.Received += uint64(len(fb.Frames))
	d.account.Dropped += fb.Dropped - d.dropped[fb.Bus]
	d.dropped[fb.Bus] = fb.Dropped
	d.account.Seen[fb.Bus] = fb.Received + fb.Dropped
	b.Account.CopyFrom(&d.account)
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
