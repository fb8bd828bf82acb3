package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telltale.dev/simulator/ledger"
)

// finish looks at the last expectations, ends everything in order and adds up what was delivered.
func (e *Engine) finish(ctx context.Context) (*Result, error) {
	e.screen.DriveEnded()
	var deliveries []*Delivery
	for i := range e.scenario.Finally {
		x := &e.scenario.Finally[i]
		if d, ok := x.That.(*Delivery); ok {
			d.within = time.Duration(x.Within)
			deliveries = append(deliveries, d)
		} else {
			e.expect(ctx, x)
		}
	}
	result := &Result{Name: e.scenario.Name}
	if len(deliveries) > 0 {
		if err := e.deliver(ctx, deliveries, result); err != nil {
			return nil, err
		}
	}
	result.Checks, result.Took = e.checks, time.Since(e.began)
	return result, ctx.Err()
}

// deliver waits until each vehicle has handed over everything and stops it,
// then the cloud, and makes the accounts.
func (e *Engine) deliver(ctx context.Context, deliveries []*Delivery, result *Result) error {
	e.say("the drive is over; everything that waits is handed over")
	began, took := time.Now(), time.Since(e.began)
	evidence := make([]ledger.Evidence, len(deliveries))
	for i, x := range deliveries {
		c := e.cars[x.Vehicle]
		d := ledger.Drive{Truth: c.truth, Before: c.before, Everything: c.everything, Took: took}
		var err error
		if evidence[i], err = ledger.HandOver(ctx, e.world, c.Vehicle, d, x.within); err != nil {
			return err
		}
	}
	if err := e.world.StopCloud(ctx); err != nil {
		return err
	}
	for i, x := range deliveries {
		l, err := e.account(x, evidence[i], began)
		if err != nil {
			return err
		}
		result.Ledgers = append(result.Ledgers, l)
	}
	return nil
}

// account makes one vehicle's account and notes whether it is as expected.
func (e *Engine) account(x *Delivery, evidence ledger.Evidence, began time.Time) (*ledger.Ledger, error) {
	l, err := ledger.Compute(evidence)
	if err != nil {
		return nil, err
	}
	failure := errors.Join(l.Check(), driven(l))
	if l.Lost != *x.Lost || l.Duplicated != *x.Duplicated {
		failure = errors.Join(failure, fmt.Errorf("lost %d, duplicated %d", l.Lost, l.Duplicated))
	}
	e.checks = append(e.checks, Check{
		What: x.what(),
		Took: time.Since(began), Err: failure,
	})
	return l, nil
}

// fewFrames are so few that a moment without power takes most of them.
const fewFrames = 100

// driven refuses an account in which the vehicle was without power for most of the
// drive: its sums would be right, but they would show next to nothing.
func driven(l *ledger.Ledger) error {
	if l.FramesSent < fewFrames || l.FramesUnpowered <= l.FramesSent/2 {
		return nil
	}
	return fmt.Errorf("the vehicle was without power for most of the drive: %d of %d frames", l.FramesUnpowered, l.FramesSent)
}
