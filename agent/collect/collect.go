// Package collect is the stage that keeps the rows which a program of campaigns
// wants: every sample, a grid (the last value once per interval) or changes
// only, all the time or in windows around moments.
//
// What is kept belongs to a Capture: batches are made for each of them. For
// windows that begin before their moment the stage has a history of rows by
// time, which outlives the rules.
//
// It knows nothing of bytes and batches; those follow in package batch. What a
// document says is package campaign's business, and so is what makes a moment.
package collect

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/agent/campaign"
	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
)

// Config of a Collector. Every field is required.
type Config struct {
	// Save keeps a schema document on disk before the first batch that needs it. It is called for schemas that rows
	// bring about; those of a program must be kept before it is loaded.
	Save    func(protocol.SchemaHash, []byte) error
	Release func(*signals.Block)
	Log     *slog.Logger
}

// Stats are the counters of a Collector.
type Stats struct {
	LeftOut   uint64 // truncated rows that no schema could be made for
	Missed    uint64 // moments that began no capture, since too many were open
	Forgotten uint64 // rows of the past that had to go before their time
}

// Collector runs a program.
type Collector struct {
	cfg   Config
	free  sync.Pool
	stats struct{ leftOut, missed, forgotten atomic.Uint64 }

	mu     sync.Mutex
	loaded []*campaign.Program // guarded by mu: not in force yet, oldest first
	wake   chan struct{}       // loaded has something new

	// Owned by Run.
	program   *campaign.Program // in force; nil before the first block
	recorders []*recorder       // one for each open capture
	captures  []*Capture        // the same, for blocks
	armed     []*campaign.Rule  // rules with a window
	past      []bool            // by group of the catalogue: the history keeps its rows
	history   history
	now       int64 // source time of the newest block, µs
	grids     bool  // a recorder has a grid
	account   Account
	block     *Block // under way
	out       chan<- *Block
}

// recorder fills one capture.
type recorder struct {
	rule    *campaign.Rule
	groups  []int32        // rule.Groups
	plain   bool           // every sample is taken, all the time
	whole   bool           // the same, and of some group all signals
	armed   *campaign.Rule // as the program has it, when it has a window; else nil
	from    int64          // first and last time of rows that it takes, µs,
	until   int64          // when its rule has a window
	state   *state
	refused []bool // by group of the catalogue: truncated rows that the rule could not be extended for; nil: none
}

func newRecorder(rule *campaign.Rule, sources int) *recorder {
	plain := rule.Mode == protocol.ModeAll && rule.Window == nil
	whole := plain && slices.ContainsFunc(rule.Take, func(take []int) bool { return take == nil })
	return &recorder{rule: rule, groups: rule.Groups, plain: plain, whole: whole, state: newState(rule, sources)}
}

func captureOf(r *campaign.Rule, moment int64) *Capture {
	return &Capture{
		Campaign: r.Campaign, Rule: r.ID, Class: r.Class, Purpose: r.Purpose, Age: r.Age, SmallAge: r.SmallAge, Bytes: r.Bytes,
		Schema: r.Format.Schema, Hash: r.Format.Hash, Moment: moment,
	}
}

// New makes a Collector that collects nothing until a program is loaded.
func New(cfg Config) *Collector {
	c := &Collector{cfg: cfg, wake: make(chan struct{}, 1)}
	c.free.New = func() any { return new(Block) }
	return c
}

// Stats may be called from any goroutine.
func (c *Collector) Stats() Stats {
	return Stats{LeftOut: c.stats.leftOut.Load(), Missed: c.stats.missed.Load(), Forgotten: c.stats.forgotten.Load()}
}

// Release gives a block back.
func (c *Collector) Release(b *Block) { c.free.Put(b) }

// flushIdle is how often a silent bus is looked at for grid intervals and windows that are over.
const flushIdle = 2 * time.Second

// Run collects until in is closed, then closes out. Whoever reads out must go
// on until it is closed. ctx ends the wait for a disk that refuses schemas.
func (c *Collector) Run(ctx context.Context, in <-chan *signals.Block, out chan<- *Block) {
	defer close(out)
	idle := time.NewTimer(flushIdle)
	defer idle.Stop()
	c.out, c.block = out, c.empty()
	for {
		select {
		case <-c.wake:
			if c.program != nil { // else the first block looks for its program
				c.adopt(c.next(c.program.Catalogue))
			}
		case <-idle.C:
			c.now += flushIdle.Microseconds() // nothing comes: source time goes on with ours
			c.expire()
			closed := c.end()
			if c.open() {
				idle.Reset(flushIdle)
			}
			if closed || len(c.block.Rows) > 0 {
				c.hand()
			}
		case sb, ok := <-in:
			if !ok {
				c.flush()
				c.hand()
				return
			}
			c.take(ctx, sb)
			c.account.CopyFrom(&sb.Account)
			c.cfg.Release(sb)
			idle.Reset(flushIdle)
			c.hand()
		}
	}
}

// empty gives a block without rows.
func (c *Collector) empty() *Block {
	b := c.free.Get().(*Block)
	b.Rows, b.Raw, b.Present = b.Rows[:0], b.Raw[:0], b.Present[:0]
	return b
}

// hand completes the block under way, hands it on and begins another one. Its
// account is of the frames whose rows have all been handed on.
func (c *Collector) hand() {
	b := c.block
	b.Captures, b.Now = c.captures, c.now
	b.Account.CopyFrom(&c.account)
	c.out <- b
	c.block = c.empty()
}

// take collects what the program wants of sb.
func (c *Collector) take(ctx context.Context, sb *signals.Block) {
	if c.program == nil || c.program.Catalogue != sb.Catalogue {
		p := c.next(sb.Catalogue)
		if p == nil {
			p = &campaign.Program{Catalogue: sb.Catalogue} // nobody asked for anything
		}
		c.adopt(p)
	}
	c.now = sb.Now
	values := sb.Raw
	shared := c.share(sb)
	for i := range sb.Rows {
		row := &sb.Rows[i]
		raw := values[row.Offset : row.Offset+row.Count]
		if len(c.armed) > 0 {
			c.fire(ctx, row, raw)
		}
		for k, r := range c.recorders {
			switch group := r.groups[row.Group]; {
			case !r.plain || group < 0:
				c.record(ctx, k, row.Group, row.Time, raw)
			case shared && r.rule.Take[group] == nil:
				c.block.refer(int32(k), group, row)
			default:
				c.block.add(int32(k), group, row.Time, raw, r.rule.Take[group])
			}
		}
		if c.history.depth > 0 && c.past[row.Group] {
			c.history.add(row.Group, row.Time, raw)
		}
	}
	c.stats.forgotten.Store(c.history.gone)
	if c.grids {
		c.now -= busSkew
		c.expire()
		c.now += busSkew
	}
	c.end()
}

// share makes the values of sb those of the block under way, so that rows whose signals are all wanted need no copy; sb
// gets the block's memory instead. It does nothing and says false when nobody would gain by it, when the block has
// values already, or when it may be handed on before all rows of sb have been read, as when a window opens.
func (c *Collector) share(sb *signals.Block) bool {
	if len(c.block.Raw) > 0 || len(c.armed) > 0 || !slices.ContainsFunc(c.recorders, func(r *recorder) bool { return r.whole }) {
		return false
	}
	c.block.Raw, sb.Raw = sb.Raw, c.block.Raw
	return true
}

// record appends to the block what recorder k wants of a row.
func (c *Collector) record(ctx context.Context, k int, from int32, t int64, raw []int64) {
	r := c.recorders[k]
	if r.window() && (t < r.from || t > r.until) {
		return
	}
	group := r.groups[from]
	if group < 0 {
		if group == campaign.NotTaken || !c.extend(ctx, k, from) {
			return
		}
		group = r.groups[from]
	}
	switch rule := r.rule; rule.Mode {
	case protocol.ModeGrid:
		r.state.grid(rule, int32(k), group, t, raw, c.block)
	case protocol.ModeOnChange:
		r.state.changed(rule, int32(k), group, t, raw, c.block)
	default:
		c.block.add(int32(k), group, t, raw, rule.Take[group])
	}
}

// busSkew is how far the frames of another bus may be behind those of this one,
// in µs of source time, before intervals and windows are closed.
const busSkew = 2_000_000

// expire closes the grid intervals that are over.
func (c *Collector) expire() {
	for k, r := range c.recorders {
		r.state.expire(r.rule, int32(k), c.now, c.block)
	}
}

// flush cuts the open grid intervals of all captures short.
func (c *Collector) flush() {
	for k, r := range c.recorders {
		r.state.flush(r.rule, int32(k), c.block)
	}
}

// open says whether something waits to be closed.
func (c *Collector) open() bool {
	return slices.ContainsFunc(c.recorders, func(r *recorder) bool { return r.window() || r.state.open() })
}
