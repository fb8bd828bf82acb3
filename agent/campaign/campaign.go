// Package campaign turns campaign documents into a program: which rows of the
// vehicle's catalogue each rule takes, and the schemas that say what they mean.
//
// It is pure: nothing is read, written or remembered. Package collect runs the
// program, config says which documents are in force.
package campaign

import (
	"errors"
	"fmt"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/delivery"
	"telltale.dev/protocol/signal"
	"telltale.dev/protocol/topics"
)

// ErrUnknownSignal is wrapped when a campaign asks for signals that the vehicle does not have.
var ErrUnknownSignal = errors.New("unknown signal")

// Program is what a set of campaigns asks of a vehicle. It never changes.
type Program struct {
	// Catalogue is the one that the rules were compiled against. Rows of another one mean nothing to them.
	Catalogue *signal.Catalogue
	Rules     []*Rule
}

// maxSetRules bounds the rules of all campaigns together, and so the memory for open batches.
const maxSetRules = 64

// Compile makes the program of campaigns that are in force together. The error says what does not fit the vehicle; it
// wraps ErrUnknownSignal or campaigns.ErrInvalid.
func Compile(cat *signal.Catalogue, set []campaigns.Campaign) (*Program, error) {
	p := &Program{Catalogue: cat}
	ids := make(map[protocol.CampaignID]bool, len(set))
	for i := range set {
		id := set[i].Metadata.ID
		if ids[id] {
			return nil, fmt.Errorf("campaign %s: expected once: %w", id, campaigns.ErrInvalid)
		}
		ids[id] = true
		rules, err := compile(cat, &set[i])
		if err != nil {
			return nil, fmt.Errorf("campaign %s: %w", id, err)
		}
		if p.Rules = append(p.Rules, rules...); len(p.Rules) > maxSetRules {
			return nil, fmt.Errorf("campaign %s: expected at most %d rules in all campaigns together: %w", id, maxSetRules, campaigns.ErrInvalid)
		}
	}
	return p, nil
}

// Check says what of one campaign does not fit the vehicle, like Compile.
func Check(cat *signal.Catalogue, c *campaigns.Campaign) error {
	_, err := compile(cat, c)
	return err
}

// Wanted says which signals of the catalogue the rules want; nil when there is no rule.
func (p *Program) Wanted() []bool {
	if len(p.Rules) == 0 {
		return nil
	}
	wanted := make([]bool, len(p.Catalogue.Signals))
	for _, r := range p.Rules {
		for s, selected := range r.selected {
			wanted[s] = wanted[s] || selected
		}
	}
	return wanted
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
			Class:   delivery.Of(topics.Topic{Kind: topics.Telemetry}).Class(c.Class()),
			Purpose: c.Spec.Purpose, Age: limits.AgeLimit(), SmallAge: c.SmallAge(), Bytes: limits.SizeLimit(),
			Interval: doc.Interval().Microseconds(), tick: c.Spec.Encoding.TickOf().Microseconds(), selected: selected,
		}
		for g := range cat.Groups {
			if !cat.Groups[g].Short && r.takes(&cat.Groups[g]) {
				r.members = append(r.members, g)
			}
		}
		if err := r.build(cat); err != nil {
			return nil, err
		}
		r.base = r.Format.Hash
		rules = append(rules, r)
	}
	return rules, nil
}
