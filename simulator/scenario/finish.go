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

// deliver waits until each device has handed over everything and stops it,
// then the cloud, and makes the accounts.
func (e *Engine) deliver(ctx context.Context, deliveries []*Delivery, result *Result) error {
	e.say("the drive is over; everything that waits is handed over")
	began, took := time.Now(), time.Since(e.began)
	evidence := map[*unit]ledger.Evidence{}
	for _, x := range deliveries {
		for _, u := range e.some(x.Of) {
			if _, ok := evidence[u]; ok {
				continue
			}
			d := ledger.Drive{Truth: u.truth, Before: u.before, Everything: u.everything, Took: took}
			var err error
			if evidence[u], err = ledger.HandOver(ctx, e.world, u.Device, d, x.within); err != nil {
				return err
			}
		}
	}
	if err := e.world.StopCloud(ctx); err != nil {
		return err
	}
	for _, x := range deliveries {
		l, err := account(e.some(x.Of), evidence)
		if err != nil {
			return err
		}
		e.checks = append(e.checks, Check{What: x.what(), Took: time.Since(began), Err: x.judge(l)})
		result.Ledgers = append(result.Ledgers, l)
	}
	return nil
}

// account makes the account of one device, or the sum of those of several.
func account(units []*unit, evidence map[*unit]ledger.Evidence) (*ledger.Ledger, error) {
	accounts := map[string]*ledger.Ledger{}
	for _, u := range units {
		l, err := ledger.Compute(evidence[u])
		if err != nil || len(units) == 1 {
			return l, err
		}
		accounts[u.ID()] = l
	}
	return ledger.Sum(accounts), nil
}

// judge says what of an account is not as expected.
func (d *Delivery) judge(l *ledger.Ledger) error {
	failure := errors.Join(l.Check(), driven(l))
	if l.Lost != *d.Lost || l.Duplicated != *d.Duplicated {
		failure = errors.Join(failure, fmt.Errorf("lost %d, duplicated %d", l.Lost, l.Duplicated))
	}
	return failure
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
