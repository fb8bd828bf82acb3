package campaign

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/codec"
	"telltale.dev/protocol/delivery"
	"telltale.dev/protocol/signal"
	"telltale.dev/protocol/topics"
)

// Rule is one collecting rule of a campaign, compiled against the vehicle's
// plan: which rows it takes, and the schema that says what they mean. A Rule
// never changes; a new schema makes a new Rule.
type Rule struct {
	Campaign protocol.CampaignID
	ID       string
	Mode     protocol.Mode
	Class    protocol.Priority
	Purpose  string
	Age      time.Duration // batches are closed at this age in source time,
	Bytes    int           // or at this size
	Schema   *codec.Schema
	Hash     protocol.SchemaHash

	doc      []byte
	base     protocol.SchemaHash // before any extension
	interval int64               // grid in µs, 0: none
	tick     int64               // step of times in µs
	layouts  []int               // group → layout
	groups   []int32             // layout → group, or one of the constants below
	buses    []int               // group → bus of the plan
	take     [][]int             // group → positions in the layout's values; nil: all of them
	shared   []bool              // group → other groups have some of its signals too
	selected []bool              // by global signal
}

// What Rule.groups says of a layout without a group.
const (
	notTaken  = -1 // nobody wants its signals
	truncated = -2 // wanted, but not in the schema yet; see extend
)

// same says whether r collects the same thing in the same way as the rule of an earlier document.
func (r *Rule) same(o *Rule) bool {
	return r.Campaign == o.Campaign && r.ID == o.ID && r.base == o.base && r.interval == o.interval &&
		r.Class == o.Class && r.Purpose == o.Purpose && r.Age == o.Age && r.Bytes == o.Bytes
}

// maxSetRules bounds the rules of all campaigns together, and so the memory for open batches.
const maxSetRules = 64

// compileSet makes the rules of campaigns that are in force together.
func compileSet(cat *signal.Catalogue, set []campaigns.Campaign) (rules []*Rule, err error) {
	ids := make(map[protocol.CampaignID]bool, len(set))
	for i := range set {
		id := set[i].Metadata.ID
		if ids[id] {
			return nil, fmt.Errorf("campaign %s: expected once: %w", id, campaigns.ErrInvalid)
		}
		ids[id] = true
		compiled, err := compile(cat, &set[i])
		if err != nil {
			return nil, fmt.Errorf("campaign %s: %w", id, err)
		}
		if rules = append(rules, compiled...); len(rules) > maxSetRules {
			return nil, fmt.Errorf("campaign %s: expected at most %d rules in all campaigns together: %w", id, maxSetRules, campaigns.ErrInvalid)
		}
	}
	return rules, nil
}

// compile makes the rules of one campaign. The error names the rule or signal that does not fit the vehicle.
func compile(cat *signal.Catalogue, c *campaigns.Campaign) ([]*Rule, error) {
	var rules []*Rule
	for i := range c.Spec.Collect {
		doc := &c.Spec.Collect[i]
		selected, err := selectSignals(cat, c, doc)
		if err != nil {
			return nil, err
		}
		limits := c.Spec.Encoding.Batch
		r := &Rule{
			Campaign: c.Metadata.ID, ID: doc.ID, Mode: doc.Mode(),
			Class: delivery.Of(topics.Topic{Kind: topics.Telemetry}).Class(c.Class()), Purpose: c.Spec.Purpose, Age: limits.AgeLimit(), Bytes: limits.SizeLimit(),
			interval: doc.Interval().Microseconds(), tick: c.Spec.Encoding.TickOf().Microseconds(), selected: selected,
		}
		for l, layout := range cat.Groups {
			if !layout.Short && r.takes(layout) {
				r.layouts = append(r.layouts, l)
			}
		}
		if err := r.build(cat); err != nil {
			return nil, err
		}
		r.base = r.Hash
		rules = append(rules, r)
	}
	return rules, nil
}

func (r *Rule) takes(layout signal.Group) bool {
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
func (r *Rule) build(cat *signal.Catalogue) (err error) {
	r.Schema, r.take = codec.SchemaOf(cat, r.Campaign, r.ID, r.Mode, r.layouts, func(s int) bool { return r.selected[s] })
	r.Schema.Tick = r.tick
	if r.doc, r.Hash, err = r.Schema.Encode(); err != nil {
		return fmt.Errorf("rule %s: schema: %w", r.ID, err)
	}
	wire, err := codec.Pack(r.doc)
	if err != nil {
		return fmt.Errorf("rule %s: schema: %w", r.ID, err)
	}
	if len(wire) > maxSchema {
		return fmt.Errorf("rule %s: the schema of %d signals has %d bytes, expected at most %d: choose fewer signals in spec.signals: %w",
			r.ID, len(r.Schema.Signals), len(wire), maxSchema, campaigns.ErrInvalid)
	}
	return r.index(cat)
}

// maxRow is the widest row, so that a block of them fits into a batch.
const maxRow = 4096

// index makes the tables by layout and by group.
func (r *Rule) index(cat *signal.Catalogue) error {
	all := cat.Groups
	r.groups = make([]int32, len(all))
	for l, layout := range all {
		r.groups[l] = notTaken
		if layout.Short && r.takes(layout) {
			r.groups[l] = truncated
		}
	}
	r.buses, r.shared = make([]int, len(r.layouts)), make([]bool, len(r.layouts))
	carriers := make([]int, len(r.Schema.Signals))
	for g, l := range r.layouts {
		r.groups[l] = int32(g)
		r.buses[g] = cat.SourceOf(l)
		if len(r.take[g]) > maxRow {
			return fmt.Errorf("rule %s: message %s has %d signals, expected at most %d: %w", r.ID, cat.MessageOf(l), len(r.take[g]), maxRow, campaigns.ErrInvalid)
		}
		if len(r.take[g]) == len(all[l].Signals) {
			r.take[g] = nil
		}
		for _, sig := range r.Schema.Groups[g] {
			carriers[sig]++
		}
	}
	for g, members := range r.Schema.Groups {
		r.shared[g] = slices.ContainsFunc(members, func(sig uint32) bool { return carriers[sig] > 1 })
	}
	return nil
}

// wantedSignals says which signals of the catalogue rules want, nil when there is no rule.
func wantedSignals(cat *signal.Catalogue, rules []*Rule) []bool {
	if len(rules) == 0 {
		return nil
	}
	wanted := make([]bool, len(cat.Signals))
	for _, r := range rules {
		for s, selected := range r.selected {
			wanted[s] = wanted[s] || selected
		}
	}
	return wanted
}

// selectSignals says for each global signal whether the rule collects it.
func selectSignals(cat *signal.Catalogue, c *campaigns.Campaign, rule *campaigns.Rule) ([]bool, error) {
	names := slices.Clone(rule.Signals)
	if len(names) == 0 {
		for name := range c.Spec.Signals {
			names = append(names, name)
		}
	}
	selected := make([]bool, len(cat.Signals))
	if len(names) == 0 {
		for i := range selected {
			selected[i] = true
		}
		return selected, nil
	}
	slices.Sort(names) // so that of several wrong ones always the same is named
	for _, name := range names {
		if !choose(cat, c.Spec.Signals[name].Path, selected) {
			return nil, unknownSignal(cat, name, c.Spec.Signals[name].Path)
		}
	}
	return selected, nil
}

// maxRepeated is how much of a path of a document is repeated in an error, in bytes.
const maxRepeated = 100

// unknownSignal says which path matches nothing, and what it may have meant.
func unknownSignal(cat *signal.Catalogue, alias, path string) error {
	text := fmt.Sprintf("spec.signals.%.64s.path: no signal of this vehicle matches %.*s", alias, maxRepeated, path)
	if names := near(cat, path); len(names) > 0 {
		text += "; near it: " + strings.Join(names, ", ")
	}
	return &unknownSignalError{text}
}

// unknownSignalError wraps ErrUnknownSignal without repeating it: the reason code beside its text says it.
type unknownSignalError struct{ text string }

func (e *unknownSignalError) Error() string { return e.text }

func (e *unknownSignalError) Unwrap() error { return ErrUnknownSignal }

// choose marks the signals that match "bus.message.signal"; false when there is none.
func choose(cat *signal.Catalogue, pattern string, selected []bool) (found bool) {
	parts := strings.SplitN(pattern, ".", 3)
	if len(parts) != 3 {
		return false
	}
	for _, m := range cat.Messages {
		if !glob(parts[0], cat.Sources[m.Source].Name) || !glob(parts[1], m.Name) {
			continue
		}
		for i := m.First; i < m.First+m.Count; i++ {
			if glob(parts[2], cat.Signals[i].Name) {
				selected[i], found = true, true
			}
		}
	}
	return found
}

// glob is protocol.MatchName for a pattern that Validate has accepted.
func glob(pattern, name string) bool {
	ok, _ := protocol.MatchName(pattern, name)
	return ok
}
