// Package campaign is the stage that keeps the rows which campaigns want:
// every sample, a grid (the last value once per interval) or changes only.
//
// It knows nothing of bytes and batches; those follow in package batch.
// Conditions, pre- and post-trigger windows and fetches are not here yet.
package campaign

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/signal"
)

// ErrUnknownSignal is wrapped when a campaign asks for signals that the vehicle does not have.
var ErrUnknownSignal = errors.New("unknown signal")

// Row is one row that a rule wants. Its values are Raw[Offset:Offset+Count] of
// its block, one for each signal of the schema's group.
type Row struct {
	Rule   int32 // index into the block's Rules
	Group  int32
	Time   int64 // µs since the Unix epoch
	Offset int32
	Count  int32
	Bits   int32 // offset into Present of the row's bitmap of present signals; -1: all are present
}

// Block is a run of rows with the rules that they belong to.
type Block struct {
	Rules   []*Rule // in force for this block; shared, never changed
	Rows    []Row
	Raw     []int64
	Present []uint64
	// Now is the source time as of the block, in µs since the Unix epoch, also when nobody wanted a row.
	Now     int64
	Account signals.Account
}

// Values gives the raw values of r.
func (b *Block) Values(r *Row) []int64 { return b.Raw[r.Offset : r.Offset+r.Count] }

// Bitmap gives the presence bits of r, nil when all are present.
func (b *Block) Bitmap(r *Row) []uint64 {
	if r.Bits < 0 {
		return nil
	}
	return b.Present[r.Bits : int(r.Bits)+(int(r.Count)+63)/64]
}

// add appends a row of the taken values.
func (b *Block) add(rule, group int32, t int64, raw []int64, take []int) {
	offset := len(b.Raw)
	b.Raw = appendTaken(b.Raw, raw, take)
	b.Rows = append(b.Rows, Row{Rule: rule, Group: group, Time: t, Offset: int32(offset), Count: int32(len(b.Raw) - offset), Bits: -1})
}

// Config of a Collector. Every field but Interest is required.
type Config struct {
	Catalogue *signal.Catalogue
	// Save keeps a schema document on disk before the first batch that needs it.
	Save    func(protocol.SchemaHash, []byte) error
	Release func(*signals.Block)
	// Interest is told, by position in the catalogue, which signals are wanted whenever a set is put in force. It gets
	// nil when there is no rule at all; the slice is not to be changed. nil: nobody asks.
	Interest func(signals []bool)
	Log      *slog.Logger
}

// Stats are the counters of a Collector.
type Stats struct {
	LeftOut uint64 // rows of truncated frames that no schema could be made for
}

// Collector runs the campaigns.
type Collector struct {
	cfg     Config
	changes chan []*Rule
	free    sync.Pool
	leftOut atomic.Uint64

	// Owned by Run.
	rules []*Rule
	state []*state // one for each rule
	now   int64    // source time of the newest block, µs
	grids bool     // a rule has a grid
}

// New makes a Collector that collects nothing until a set is put in force.
func New(cfg Config) *Collector {
	c := &Collector{cfg: cfg, changes: make(chan []*Rule, 1)}
	c.free.New = func() any { return new(Block) }
	return c
}

// Stats may be called from any goroutine.
func (c *Collector) Stats() Stats { return Stats{LeftOut: c.leftOut.Load()} }

// Check compiles one campaign without putting it in force. The error says what
// does not fit the vehicle; it wraps ErrUnknownSignal or campaigns.ErrInvalid.
func (c *Collector) Check(doc *campaigns.Campaign) error {
	_, err := compile(c.cfg.Catalogue, doc)
	return err
}

// Prepare compiles a set of campaigns and keeps its schemas. What it gives puts
// the set in force, from the next block on, and cannot fail. Rules that the
// old set has too go on undisturbed. On an error nothing has changed. Sets may
// be prepared and put in force from any goroutine, one at a time.
func (c *Collector) Prepare(set []campaigns.Campaign) (apply func(), err error) {
	rules, err := compileSet(c.cfg.Catalogue, set)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if err := c.cfg.Save(r.Hash, r.doc); err != nil {
			return nil, err
		}
	}
	wanted := wantedSignals(c.cfg.Catalogue, rules)
	return func() {
		select {
		case <-c.changes: // a set that Run has not seen yet is superseded
		default:
		}
		c.changes <- rules
		if c.cfg.Interest != nil {
			c.cfg.Interest(wanted)
		}
	}, nil
}

// Release gives a block back.
func (c *Collector) Release(b *Block) { c.free.Put(b) }

// flushIdle is how often a silent bus is looked at for grid intervals that are over.
const flushIdle = 2 * time.Second

// Run collects until in is closed, then closes out. Whoever reads out must go
// on until it is closed. ctx ends the wait for a disk that refuses schemas.
func (c *Collector) Run(ctx context.Context, in <-chan *signals.Block, out chan<- *Block) {
	defer close(out)
	idle := time.NewTimer(flushIdle)
	defer idle.Stop()
	var account signals.Account
	select { // what is in force before the start takes the first row that comes
	case rules := <-c.changes:
		b := c.block()
		c.adopt(rules, b)
		c.Release(b) // nothing was open
	default:
	}
	for {
		b := c.block()
		select {
		case rules := <-c.changes:
			before := c.rules
			c.adopt(rules, b)
			b.hand(before, c.now, &account)
		case <-idle.C:
			c.now += flushIdle.Microseconds() // nothing comes: source time goes on with ours
			c.expire(b)
			if c.open() {
				idle.Reset(flushIdle)
			}
			if len(b.Rows) == 0 {
				c.Release(b)
				continue
			}
			b.hand(c.rules, c.now, &account)
		case sb, ok := <-in:
			if !ok {
				c.flush(b)
				b.hand(c.rules, c.now, &account)
				out <- b
				return
			}
			c.Collect(ctx, sb, b)
			account.CopyFrom(&sb.Account)
			c.cfg.Release(sb)
			idle.Reset(flushIdle)
			b.hand(c.rules, c.now, &account)
		}
		out <- b
	}
}

// block gives an empty one.
func (c *Collector) block() *Block {
	b := c.free.Get().(*Block)
	b.Rows, b.Raw, b.Present = b.Rows[:0], b.Raw[:0], b.Present[:0]
	return b
}

// hand completes a block.
func (b *Block) hand(rules []*Rule, now int64, account *signals.Account) {
	b.Rules, b.Now = rules, now
	b.Account.CopyFrom(account)
}

// adopt replaces the rules. A rule that was there before keeps its state and
// its open batch; what the others have open goes into b, which is still of the old rules.
func (c *Collector) adopt(rules []*Rule, b *Block) {
	states := make([]*state, len(rules))
	for i, r := range rules {
		if j := slices.IndexFunc(c.rules, r.same); j >= 0 {
			rules[i], states[i] = c.rules[j], c.state[j]
		} else {
			states[i] = newState(r, len(c.cfg.Catalogue.Sources))
		}
	}
	for j, s := range c.state {
		if !slices.Contains(states, s) {
			s.flush(c.rules[j], int32(j), b)
		}
	}
	c.rules, c.state = rules, states
	c.grids = slices.ContainsFunc(rules, func(r *Rule) bool { return r.Mode == protocol.ModeGrid })
}

// Collect appends to b what the rules want of sb.
func (c *Collector) Collect(ctx context.Context, sb *signals.Block, b *Block) {
	c.now = sb.Now
	for i := range sb.Rows {
		row := &sb.Rows[i]
		raw := sb.Values(row)
		for k := range c.rules {
			group := c.rules[k].groups[row.Layout]
			if group < 0 {
				if group == notTaken || !c.extend(ctx, k, row.Layout) {
					continue
				}
				group = c.rules[k].groups[row.Layout]
			}
			switch r := c.rules[k]; r.Mode {
			case protocol.ModeGrid:
				c.state[k].grid(r, int32(k), group, row.Time, raw, b)
			case protocol.ModeOnChange:
				c.state[k].changed(r, int32(k), group, row.Time, raw, b)
			default:
				b.add(int32(k), group, row.Time, raw, r.take[group])
			}
		}
	}
	if c.grids {
		c.now -= busSkew
		c.expire(b)
		c.now += busSkew
	}
}

// busSkew is how far the frames of another bus may be behind those of this one,
// in µs of source time, before its intervals are closed.
const busSkew = 2_000_000

// expire closes the grid intervals that are over.
func (c *Collector) expire(b *Block) {
	for k, s := range c.state {
		s.expire(c.rules[k], int32(k), c.now, b)
	}
}

// flush cuts the open grid intervals of all rules short.
func (c *Collector) flush(b *Block) {
	for k, s := range c.state {
		s.flush(c.rules[k], int32(k), b)
	}
}

func (c *Collector) open() bool { return slices.ContainsFunc(c.state, (*state).open) }
