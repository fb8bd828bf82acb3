package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telltale.dev/protocol/signal"
)

// extend handles a truncated frame with signals that rule k wants: the rule is
// replaced by one that takes such frames too. Rows that are in the block
// already keep their meaning, since groups are only added. It says whether the
// layout is taken now.
func (c *Collector) extend(ctx context.Context, k int, layout int32) bool {
	r, s := c.rules[k], c.state[k]
	if s.refused != nil && s.refused[layout] {
		c.leftOut.Add(1)
		return false
	}
	next, err := r.extend(c.cfg.Catalogue, layout)
	if err == nil {
		err = c.save(ctx, next)
	}
	if err != nil {
		c.cfg.Log.Error("truncated frames are left out", "rule", r.ID, "message", c.cfg.Catalogue.MessageOf(int(layout)), "error", err)
		if s.refused == nil {
			s.refused = make([]bool, len(r.groups))
		}
		s.refused[layout] = true
		c.leftOut.Add(1)
		return false
	}
	c.rules = append([]*Rule(nil), c.rules...) // blocks on their way hold the old slice
	c.rules[k] = next
	s.grow(r, next)
	return true
}

// Waits between tries of a schema that the disk refuses.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 5 * time.Second
)

// save keeps the schema of a rule. While the disk refuses, collecting stands
// still and the bus drivers count what they drop, until ctx ends.
func (c *Collector) save(ctx context.Context, r *Rule) error {
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		err := c.cfg.Save(r.Hash, r.doc)
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

// extend makes the rule that also takes the short layouts of layout's message,
// which come into the schema only when a truncated frame was really seen.
func (r *Rule) extend(cat *signal.Catalogue, layout int32) (*Rule, error) {
	next := *r
	next.layouts = append([]int(nil), r.layouts...)
	message := cat.Groups[layout].Message
	for l, other := range cat.Groups {
		if other.Short && other.Message == message && r.takes(other) {
			next.layouts = append(next.layouts, l)
		}
	}
	if err := next.build(cat); err != nil {
		return nil, err
	}
	if len(next.Schema.Signals) != len(r.Schema.Signals) {
		return nil, fmt.Errorf("a truncated frame brings signals that no whole one has")
	}
	return &next, nil
}
