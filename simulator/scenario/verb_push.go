package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
)

// Push publishes a campaign's file over MQTT, as fleet operations do.
type Push struct {
	File string `yaml:"push"`
}

func (p *Push) check(s *Scenario) error {
	if p.File == "" {
		return errors.New("push: expected a file")
	}
	return s.checkFile(p.File)
}

func (p *Push) do(ctx context.Context, e *Engine) error {
	doc, err := readFile(e.scenario.Path(p.File), document.MaxInline+1)
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	parsed, err := campaigns.Parse(doc)
	if err != nil {
		return fmt.Errorf("push %s: %w", p.File, err)
	}
	ops := e.operations()
	if ops == nil {
		if ops, err = e.world.Operations(ctx); err != nil {
			return err
		}
		e.mu.Lock()
		e.ops = ops
		e.mu.Unlock()
	}
	return ops.Push(ctx, parsed.Metadata.ID, doc)
}

// CampaignStatus expects the result of the newest push of a campaign.
type CampaignStatus struct {
	ID     string `yaml:"campaign"`
	Status string `yaml:"status"` // such as ACTIVE
}

func (c *CampaignStatus) check(*Scenario) error {
	if c.Status == "" {
		return errors.New("campaign: expected status, such as ACTIVE")
	}
	return nil
}

func (c *CampaignStatus) what() string { return fmt.Sprintf("campaign %s is %s", c.ID, c.Status) }

func (c *CampaignStatus) holds(_ context.Context, e *Engine) error {
	ops := e.operations()
	if ops == nil {
		return errors.New("nothing was pushed")
	}
	r, ok := ops.Result(c.ID)
	if !ok {
		return errors.New("no result came")
	}
	if r.State != c.Status {
		return errors.New(strings.TrimSpace(fmt.Sprintf("it is %s %s %s", r.State, r.Reason, r.Detail)))
	}
	return nil
}

func (c *CampaignStatus) pausesDrive() {}
