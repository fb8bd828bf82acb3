package collect

import (
	"context"
	"errors"
	"time"

	"telltale.dev/agent/campaign"
)

// extend handles a truncated row with signals that recorder k wants: its rule is
// replaced by one that takes such rows too, and its capture by one of the new
// schema. Rows that are in the block already keep their meaning, since groups
// are only added. It says whether the group is taken now.
func (c *Collector) extend(ctx context.Context, k int, group int32) bool {
	r := c.recorders[k]
	if r.refused != nil && r.refused[group] {
		c.stats.leftOut.Add(1)
		return false
	}
	next, err := r.rule.Extend(c.program.Catalogue, group)
	if err == nil {
		err = c.save(ctx, next)
	}
	if err != nil {
		c.cfg.Log.Error("truncated frames are left out", "rule", r.rule.ID, "message", c.program.Catalogue.MessageOf(int(group)), "error", err)
		if r.refused == nil {
			r.refused = make([]bool, len(r.rule.Groups))
		}
		r.refused[group] = true
		c.stats.leftOut.Add(1)
		return false
	}
	r.state.grow(r.rule, next)
	r.rule, r.groups = next, next.Groups
	c.captures = append([]*Capture(nil), c.captures...) // blocks on their way hold the old slice
	c.captures[k] = captureOf(next, c.captures[k].Moment)
	return true
}

// Waits between tries of a schema that the disk refuses.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 5 * time.Second
)

// save keeps the schema of a rule. While the disk refuses, collecting stands
// still and the bus drivers count what they drop, until ctx ends.
func (c *Collector) save(ctx context.Context, r *campaign.Rule) error {
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		err := c.cfg.Save(r.Format.Hash, r.Format.Document)
		if err == nil {
			return nil
		}
		if wait == minRetry {
			c.cfg.Log.Error("schema cannot be kept; collecting stands still until it can", "rule", r.ID, "error", err)
		}
		retry := time.NewTimer(wait)
		select {
		case <-retry.C:
		case <-ctx.Done():
			retry.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}
