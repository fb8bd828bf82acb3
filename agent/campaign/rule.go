package campaign

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// Rule is one collecting rule of a campaign, compiled against the vehicle's catalogue: which rows it takes and how. A
// Rule never changes; Extend makes a new one.
type Rule struct {
	Campaign protocol.CampaignID
	ID       string
	Mode     protocol.Mode
	Class    protocol.Priority
	Purpose  string
	Age      time.Duration // batches are closed at this age in source time,
	SmallAge time.Duration // those that grow slowly at this one (campaigns.Campaign.SmallAge),
	Bytes    int           // or at this size
	Interval int64         // of the grid in µs; 0: none
	Window   *Window       // nil: it collects all the time
	Format   *Format

	// Groups gives for each group of the catalogue the schema's group that takes its rows, or NotTaken or Truncated.
	Groups []int32
	// Take gives for each group of the schema the positions of its signals in the catalogue's group; nil: all of them.
	Take [][]int
	// Sources gives for each group of the schema the position of its source in the catalogue.
	Sources []int
	// Shared says for each group of the schema whether other groups have some of its signals too.
	Shared []bool

	base     protocol.SchemaHash // of the format before any extension
	tick     int64               // step of times in µs
	members  []int               // group of the schema → group of the catalogue
	selected []bool              // by position in Catalogue.Signals
}

// Format says what the rows of a rule mean: the schema of its batches.
type Format struct {
	Schema   *schemas.Schema
	Hash     protocol.SchemaHash
	Document []byte // the schema's document, whose SHA-256 is Hash
}

// What Rule.Groups says of a group of the catalogue that no group of the schema takes.
const (
	NotTaken  = -1 // nobody wants its signals
	Truncated = -2 // wanted, but not in the schema yet; see Extend
)

// Same says whether r collects the same thing in the same way as a rule of an earlier program of the same catalogue.
func (r *Rule) Same(o *Rule) bool {
	return r.Campaign == o.Campaign && r.ID == o.ID && r.base == o.base && r.Interval == o.Interval && r.sameWindow(o) &&
		r.Class == o.Class && r.Purpose == o.Purpose && r.Age == o.Age && r.SmallAge == o.SmallAge && r.Bytes == o.Bytes
}

func (r *Rule) sameWindow(o *Rule) bool {
	if r.Window == nil || o.Window == nil {
		return r.Window == o.Window
	}
	return *r.Window == *o.Window
}

// Extend makes the rule that also takes the short groups of a group's message. They come into the schema only when a
// truncated row was really seen. Groups of the schema are only added, its signals stay.
func (r *Rule) Extend(cat *signal.Catalogue, group int32) (*Rule, error) {
	next := *r
	next.members = slices.Clone(r.members)
	message := cat.Groups[group].Message
	for g := range cat.Groups {
		if other := &cat.Groups[g]; other.Short && other.Message == message && r.takes(other) {
			next.members = append(next.members, g)
		}
	}
	if err := next.build(cat); err != nil {
		return nil, err
	}
	if len(next.Format.Schema.Signals) != len(r.Format.Schema.Signals) {
		return nil, errors.New("a truncated row brings signals that no whole one has")
	}
	return &next, nil
}

func (r *Rule) takes(g *signal.Group) bool {
	for _, s := range g.Signals {
		if r.selected[s] {
			return true
		}
	}
	return false
}

// maxSchema leaves room for topic and properties in the largest packet, in bytes.
const maxSchema = protocol.MaxPacket - 1<<10

// build makes format and tables from r.members.
func (r *Rule) build(cat *signal.Catalogue) (err error) {
	f := &Format{}
	f.Schema, r.Take = schemas.Of(cat, r.Campaign, r.ID, r.Mode, r.members, func(s int) bool { return r.selected[s] })
	f.Schema.Tick = r.tick
	if f.Document, f.Hash, err = f.Schema.Encode(); err != nil {
		return fmt.Errorf("rule %s: schema: %w", r.ID, err)
	}
	wire, err := compress.Pack(f.Document)
	if err != nil {
		return fmt.Errorf("rule %s: schema: %w", r.ID, err)
	}
	if len(wire) > maxSchema {
		return fmt.Errorf("rule %s: the schema of %d signals has %d bytes, expected at most %d: choose fewer signals in spec.signals: %w",
			r.ID, len(f.Schema.Signals), len(wire), maxSchema, campaigns.ErrInvalid)
	}
	r.Format = f
	return r.index(cat)
}

// maxRow is the widest row, so that a block of them fits into a batch.
const maxRow = 4096

// index makes the tables by group.
func (r *Rule) index(cat *signal.Catalogue) error {
	r.Groups = make([]int32, len(cat.Groups))
	for g := range cat.Groups {
		r.Groups[g] = NotTaken
		if cat.Groups[g].Short && r.takes(&cat.Groups[g]) {
			r.Groups[g] = Truncated
		}
	}
	schema := r.Format.Schema
	r.Sources, r.Shared = make([]int, len(r.members)), make([]bool, len(r.members))
	carriers := make([]int, len(schema.Signals))
	for g, from := range r.members {
		r.Groups[from] = int32(g)
		r.Sources[g] = cat.SourceOf(from)
		if len(r.Take[g]) > maxRow {
			return fmt.Errorf("rule %s: message %s has %d signals, expected at most %d: %w", r.ID, cat.MessageOf(from), len(r.Take[g]), maxRow, campaigns.ErrInvalid)
		}
		if len(r.Take[g]) == len(cat.Groups[from].Signals) {
			r.Take[g] = nil
		}
		for _, sig := range schema.Groups[g] {
			carriers[sig]++
		}
	}
	for g, members := range schema.Groups {
		r.Shared[g] = slices.ContainsFunc(members, func(sig uint32) bool { return carriers[sig] > 1 })
	}
	return nil
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
