package campaign

import (
	"fmt"
	"path"
	"strings"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
	"telltale.dev/protocol/dbc"
)

// Rule is one collecting rule of a campaign, compiled against the vehicle's
// plan: which rows it takes, and the schema that says what they mean. A Rule
// never changes; a new schema makes a new Rule.
type Rule struct {
	Campaign protocol.CampaignID
	Revision uint64
	ID       string
	Mode     protocol.Mode
	Class    protocol.Priority
	Purpose  string
	Age      time.Duration // batches are closed at this age in source time,
	Bytes    int           // or at this size
	Schema   *codec.Schema
	Hash     protocol.SchemaHash

	doc      []byte
	interval int64   // grid in µs, 0: none
	layouts  []int   // group → layout
	groups   []int32 // layout → group, -1: not taken
	take     [][]int // group → positions in the layout's values; nil: all of them
	selected []bool  // by global signal
}

// same says whether r collects the same thing as the rule of an earlier document.
func (r *Rule) same(o *Rule) bool {
	return r.Campaign == o.Campaign && r.Revision == o.Revision && r.ID == o.ID
}

// compile makes the rules of one campaign. The error names the rule or signal that does not fit the vehicle.
func compile(plan *dbc.Plan, hashes [][32]byte, c *protocol.Campaign) ([]*Rule, error) {
	var rules []*Rule
	for i := range c.Spec.Collect {
		doc := &c.Spec.Collect[i]
		selected, err := selectSignals(plan, c, doc)
		if err != nil {
			return nil, err
		}
		limits := c.Spec.Encoding.Batch
		r := &Rule{
			Campaign: c.Metadata.ID, Revision: c.Metadata.Revision, ID: doc.ID, Mode: doc.Mode(),
			Class: c.Class(), Purpose: c.Spec.Purpose, Age: limits.AgeLimit(), Bytes: limits.SizeLimit(),
			interval: doc.Interval().Microseconds(), selected: selected,
		}
		for l, layout := range plan.Layouts() {
			if !layout.Short && r.takes(layout) {
				r.layouts = append(r.layouts, l)
			}
		}
		if err := r.build(plan, hashes); err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func (r *Rule) takes(layout dbc.Layout) bool {
	for _, s := range layout.Signals {
		if r.selected[s] {
			return true
		}
	}
	return false
}

// maxSchema leaves room for topic and properties in the largest packet, in bytes.
const maxSchema = protocol.MaxPacket - 1<<10

// build makes schema and tables from r.layouts.
func (r *Rule) build(plan *dbc.Plan, hashes [][32]byte) (err error) {
	r.Schema, r.take = codec.SchemaOf(plan, r.Campaign, r.ID, r.Mode, hashes, r.layouts, func(s int) bool { return r.selected[s] })
	if r.doc, r.Hash, err = r.Schema.Encode(); err != nil {
		return fmt.Errorf("rule %s: schema: %w", r.ID, err)
	}
	wire, err := codec.Pack(r.doc)
	if err != nil {
		return fmt.Errorf("rule %s: schema: %w", r.ID, err)
	}
	if len(wire) > maxSchema {
		return fmt.Errorf("rule %s: the schema of %d signals has %d bytes, expected at most %d: choose fewer signals in spec.signals: %w",
			r.ID, len(r.Schema.Signals), len(wire), maxSchema, protocol.ErrCampaign)
	}
	r.groups = make([]int32, len(plan.Layouts()))
	for l := range r.groups {
		r.groups[l] = -1
	}
	for g, l := range r.layouts {
		r.groups[l] = int32(g)
		if len(r.take[g]) == len(plan.Layouts()[l].Signals) {
			r.take[g] = nil
		}
	}
	return nil
}

// extend makes the rule that also takes the short layouts of layout's message,
// which come into the schema only when a truncated frame was really seen.
func (r *Rule) extend(plan *dbc.Plan, hashes [][32]byte, layout int32) (*Rule, error) {
	next := *r
	next.layouts = append([]int(nil), r.layouts...)
	message := plan.Layouts()[layout].Message
	for l, other := range plan.Layouts() {
		if other.Short && other.Message == message && r.takes(other) {
			next.layouts = append(next.layouts, l)
		}
	}
	return &next, next.build(plan, hashes)
}

// selectSignals says for each global signal whether the rule collects it.
func selectSignals(plan *dbc.Plan, c *protocol.Campaign, rule *protocol.CollectRule) ([]bool, error) {
	names := rule.Signals
	if len(names) == 0 {
		for name := range c.Spec.Signals {
			names = append(names, name)
		}
	}
	all := plan.Signals()
	selected := make([]bool, len(all))
	if len(names) == 0 {
		for i := range selected {
			selected[i] = true
		}
		return selected, nil
	}
	for _, name := range names {
		parts := strings.SplitN(c.Spec.Signals[name].Path, ".", 3)
		found := false
		for i := range all {
			if glob(parts[0], all[i].Bus) && glob(parts[1], all[i].Message) && glob(parts[2], all[i].Name) {
				selected[i], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("spec.signals.%s.path: no signal of this vehicle matches: %w", name, ErrUnknownSignal)
		}
	}
	return selected, nil
}

func glob(pattern, s string) bool {
	ok, _ := path.Match(pattern, s)
	return ok
}
