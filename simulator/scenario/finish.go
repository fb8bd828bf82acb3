package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telltale.dev/simulator/ledger"
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
	d := ledger.Drive{Truth: c.truth, Before: c.before, Everything: c.everything, Took: time.Since(e.began)}
	evidence, err := ledger.Gather(ctx, e.world, c.Vehicle, d, time.Duration(x.Within))
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
