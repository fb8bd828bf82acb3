package agent

import (
	"fmt"
	"sync/atomic"

	"telltale.dev/agent/campaign"
	"telltale.dev/agent/config"
	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/signal"
)

// collecting puts campaigns in force: it compiles them, keeps their schemas and
// tells the stages. The Keeper of package config calls it, one call at a time.
type collecting struct {
	a    *Agent
	save func(protocol.SchemaHash, []byte) error
	// The plan that frames are decoded by, or will be with the next block.
	plan      *dbc.Plan
	catalogue *signal.Catalogue
	program   *campaign.Program // in force, or will be with the next block
	// names are the campaigns in force. Whoever reads them never waits for a compilation.
	names atomic.Pointer[[]campaigns.Metadata]
}

var _ config.Campaigns = (*collecting)(nil)

// Check implements config.Campaigns.
func (c *collecting) Check(doc *campaigns.Campaign) error { return campaign.Check(c.catalogue, doc) }

// Prepare implements config.Campaigns.
func (c *collecting) Prepare(set []campaigns.Campaign) (apply func(), err error) {
	program, err := c.compile(c.catalogue, set)
	if err != nil {
		return nil, err
	}
	names := make([]campaigns.Metadata, len(set))
	for i := range set {
		names[i] = set[i].Metadata
	}
	return func() {
		c.program = program
		c.names.Store(&names)
		c.a.collect.Load(program)
		c.narrow(program)
	}, nil
}

// compile makes a program, with its schemas on disk.
func (c *collecting) compile(catalogue *signal.Catalogue, set []campaigns.Campaign) (*campaign.Program, error) {
	program, err := campaign.Compile(catalogue, set)
	if err != nil {
		return nil, err
	}
	for _, r := range program.Rules {
		if err := c.save(r.Format.Hash, r.Format.Document); err != nil {
			return nil, err
		}
	}
	return program, nil
}

// pruneSchemas forgets the schemas that neither what waits nor the campaigns in force need. It is called before anything is collected.
func (c *collecting) pruneSchemas(schemas *config.Schemas) {
	needed := c.a.buffer.Schemas()
	for _, r := range c.program.Rules {
		needed[r.Format.Hash] = true
	}
	removed, err := schemas.Prune(func(h protocol.SchemaHash) bool { return needed[h] })
	if err != nil {
		c.a.cfg.Log.Warn("schemas that nobody needs stay for now", "error", err)
	}
	if removed > 0 {
		c.a.cfg.Log.Info("schemas that nobody needs are removed", "files", removed)
	}
}

// narrow lets the drivers keep away what no campaign wants.
func (c *collecting) narrow(program *campaign.Program) {
	for i, in := range signals.Interests(c.plan, c.a.inputs(), program.Wanted()) {
		switch {
		case in.Everything:
			c.a.frames.SetFilters(i, nil)
		case in.Filters == nil:
			c.a.frames.SetFilters(i, []can.Filter{})
		default:
			c.a.frames.SetFilters(i, in.Filters)
		}
	}
}

// SwapPlan decodes by another plan from now on, while everything goes on: each
// frame is decoded by one of the two plans, and its rows are collected by
// campaigns compiled against it. Open batches of the plan before are sealed. On
// an error, as when a campaign in force asks for a signal that the plan does not
// have, nothing has changed. It may be called from any goroutine.
func (a *Agent) SwapPlan(plan *dbc.Plan) error {
	c := a.collecting
	err := a.config.Refit(func(set []campaigns.Campaign) (apply func(), err error) {
		catalogue := plan.Catalogue()
		program, err := c.compile(catalogue, set)
		if err != nil {
			return nil, err
		}
		return func() {
			c.plan, c.catalogue, c.program = plan, catalogue, program
			a.collect.Load(program) // it must be there before rows of the new plan are
			a.signals.Swap(plan, catalogue)
			c.narrow(program) // what the filters keep away from here on, the new plan's campaigns do not want
		}, nil
	})
	if err != nil {
		return fmt.Errorf("another plan: %w", err)
	}
	return nil
}

// inputs gives the names of the buses, in order.
func (a *Agent) inputs() []string {
	names := make([]string, len(a.cfg.Inputs))
	for i, in := range a.cfg.Inputs {
		names[i] = in.Name
	}
	return names
}
