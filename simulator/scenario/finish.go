package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/world"
)

// finish ends everything in order and adds up what was delivered.
func (e *Engine) finish(ctx context.Context) (*Result, error) {
	result := &Result{Name: e.scenario.Name}
	for i := range e.scenario.Finally {
		x := &e.scenario.Finally[i]
		if x.Delivery == "" {
			e.expect(ctx, x)
			continue
		}
		l, err := e.deliver(ctx, x)
		if err != nil {
			return nil, err
		}
		result.Ledgers = append(result.Ledgers, l)
	}
	result.Checks, result.Took = e.checks, time.Since(e.began)
	return result, nil
}

// deliver waits until a vehicle has handed over everything, stops it and the
// cloud, and makes the account.
func (e *Engine) deliver(ctx context.Context, x *Expect) (*ledger.Ledger, error) {
	e.say("the drive is over; everything that waits is handed over")
	began := time.Now()
	c := e.cars[x.Delivery]
	evidence, err := e.gather(ctx, c, time.Duration(x.Within))
	if err != nil {
		return nil, err
	}
	l, err := ledger.Compute(evidence)
	if err != nil {
		return nil, err
	}
	failure := l.Check()
	if l.Lost != *x.Lost || l.Duplicated != *x.Dup {
		failure = errors.Join(failure, fmt.Errorf("lost %d, duplicated %d", l.Lost, l.Duplicated))
	}
	e.checks = append(e.checks, Check{
		What: fmt.Sprintf("delivery of %s: lost %d, duplicated %d", x.Delivery, *x.Lost, *x.Dup),
		Took: time.Since(began), Err: failure,
	})
	return l, nil
}

// gather collects the evidence.
func (e *Engine) gather(ctx context.Context, c *car, within time.Duration) (ledger.Evidence, error) {
	var none ledger.Evidence
	if !c.Running() {
		return none, fmt.Errorf("delivery of %s: expected it powered at the end", c.Name)
	}
	took := time.Since(e.began)
	drained, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := c.Hub.Drain(drained); err != nil {
		return none, fmt.Errorf("delivery of %s: the agent does not read its buses: %w", c.Name, err)
	}
	for c.Status().Waiting > 0 || !c.Status().Connected {
		if err := e.pause(drained, step); err != nil {
			break // what still waits then shows in the ledger
		}
	}
	if err := c.Stop(ctx); err != nil {
		return none, err
	}
	attachments := c.Hub.Attachments()
	after, err := c.Account(ctx)
	if err != nil {
		return none, err
	}
	var declared []world.Range
	if after.EvictedSamples > c.before.EvictedSamples {
		if declared, err = e.world.Declared(ctx, c.Vehicle); err != nil {
			return none, err
		}
	}
	if err := e.world.StopCloud(ctx); err != nil {
		return none, err
	}
	up, down := c.Link.Bytes()
	buses := make([]string, 0, len(c.Buses()))
	for _, b := range c.Buses() {
		buses = append(buses, b.Name)
	}
	return ledger.Evidence{
		Device: c.Device(), Buses: buses, Truth: c.truth, Attachments: attachments, Starts: c.Starts(),
		Before: c.before, After: after, Declared: declared, Lake: e.world.Lake(), WireBytes: up + down,
		Took: took, Everything: c.everything,
	}, nil
}
