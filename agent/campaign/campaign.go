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
	"sync"
	"time"

	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
	"telltale.dev/protocol/dbc"
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

// Config of a Collector. Every field is required.
type Config struct {
	Plan   *dbc.Plan
	Hashes [][32]byte // SHA-256 of the DBC files, for the schemas
	// Save keeps a schema document on disk before the first batch that needs it.
	Save    func(protocol.SchemaHash, []byte) error
	Release func(*signals.Block)
	Log     *slog.Logger
}

// Collector runs the campaigns.
type Collector struct {
	cfg     Config
	changes chan []*Rule
	free    sync.Pool

	// Owned by Run.
	rules []*Rule
	state []*state // one for each rule
}

// New makes a Collector that collects nothing until Replace is called.
func New(cfg Config) *Collector {
	c := &Collector{cfg: cfg, changes: make(chan []*Rule, 1)}
	c.free.New = func() any { return new(Block) }
	return c
}

// Check compiles one campaign without putting it in force. The error says what
// does not fit the vehicle; it wraps ErrUnknownSignal or protocol.ErrCampaign.
func (c *Collector) Check(doc *protocol.Campaign) error {
	_, err := compile(c.cfg.Plan, c.cfg.Hashes, doc)
	return err
}

// Replace puts a set of campaigns in force, from the next block on. Rules that
// the old set had too go on undisturbed. It may be called from any goroutine,
// one at a time; on an error the old set stays.
func (c *Collector) Replace(set []protocol.Campaign) error {
	var rules []*Rule
	for i := range set {
		compiled, err := compile(c.cfg.Plan, c.cfg.Hashes, &set[i])
		if err != nil {
			return err
		}
		rules = append(rules, compiled...)
	}
	for _, r := range rules {
		if err := c.cfg.Save(r.Hash, r.doc); err != nil {
			return err
		}
	}
	select {
	case <-c.changes: // a set that Run has not seen yet is superseded
	default:
	}
	c.changes <- rules
	return nil
}

// Release gives a block back.
func (c *Collector) Release(b *Block) { c.free.Put(b) }

// flushIdle is how long a silent bus may hold back the last interval of a grid.
const flushIdle = 2 * time.Second

// Run collects until in is closed, then closes out.
func (c *Collector) Run(ctx context.Context, in <-chan *signals.Block, out chan<- *Block) error {
	defer close(out)
	idle := time.NewTimer(flushIdle)
	defer idle.Stop()
	var account signals.Account
	for {
		b := c.free.Get().(*Block)
		b.Rows, b.Raw, b.Present = b.Rows[:0], b.Raw[:0], b.Present[:0]
		select {
		case rules := <-c.changes:
			c.flush(b)
			b.hand(c.rules, &account)
			out <- b
			c.adopt(rules)
			continue
		case <-idle.C:
			c.flush(b)
		case sb, ok := <-in:
			if !ok {
				c.flush(b)
				b.hand(c.rules, &account)
				out <- b
				return nil
			}
			c.Collect(sb, b)
			account.CopyFrom(&sb.Account)
			c.cfg.Release(sb)
			idle.Reset(flushIdle)
		}
		b.hand(c.rules, &account)
		out <- b
	}
}

// hand completes a block.
func (b *Block) hand(rules []*Rule, account *signals.Account) {
	b.Rules = rules
	b.Account.CopyFrom(account)
}

// adopt replaces the rules; a rule that was there before keeps its state and its open batch.
func (c *Collector) adopt(rules []*Rule) {
	states := make([]*state, len(rules))
	for i, r := range rules {
		for j, old := range c.rules {
			if r.same(old) {
				rules[i], states[i] = old, c.state[j]
			}
		}
		if states[i] == nil {
			states[i] = newState(rules[i])
		}
	}
	c.rules, c.state = rules, states
}

// Collect appends to b what the rules want of sb.
func (c *Collector) Collect(sb *signals.Block, b *Block) {
	for i := range sb.Rows {
		row := &sb.Rows[i]
		raw := sb.Values(row)
		for k := range c.rules {
			group := c.rules[k].groups[row.Layout]
			if group < 0 && !c.short(k, row.Layout, &group) {
				continue
			}
			switch c.rules[k].Mode {
			case protocol.ModeGrid:
				c.state[k].grid(c.rules[k], int32(k), group, row.Time, raw, b)
			case protocol.ModeOnChange:
				c.state[k].changed(c.rules[k], int32(k), group, row.Time, raw, b)
			default:
				b.add(int32(k), group, row.Time, raw, c.rules[k].take[group])
			}
		}
	}
}

// short handles a layout that the rule's schema lacks: if it is that of a
// truncated frame with signals that the rule wants, the rule is extended.
func (c *Collector) short(k int, layout int32, group *int32) bool {
	plan, r := c.cfg.Plan, c.rules[k]
	if l := plan.Layouts()[layout]; !l.Short || !r.takes(l) {
		return false
	}
	next, err := r.extend(plan, c.cfg.Hashes, layout)
	if err == nil {
		err = c.cfg.Save(next.Hash, next.doc)
	}
	if err != nil {
		c.cfg.Log.Error("truncated frames are left out", "rule", r.ID, "error", err)
		return false
	}
	c.rules = append([]*Rule(nil), c.rules...) // blocks on their way hold the old slice
	c.rules[k] = next
	c.state[k].grow(len(next.layouts))
	*group = next.groups[layout]
	return true
}

// flush appends the open grid intervals of all rules.
func (c *Collector) flush(b *Block) {
	for k, s := range c.state {
		s.flush(c.rules[k], int32(k), b)
	}
}

// add appends a row of all selected values.
func (b *Block) add(rule, group int32, t int64, raw []int64, take []int) {
	offset := len(b.Raw)
	if take == nil {
		b.Raw = append(b.Raw, raw...)
	} else {
		for _, i := range take {
			b.Raw = append(b.Raw, raw[i])
		}
	}
	b.Rows = append(b.Rows, Row{Rule: rule, Group: group, Time: t, Offset: int32(offset), Count: int32(len(b.Raw) - offset), Bits: -1})
}
