package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// expect waits until an expectation is met or its time is up, and notes how it went.
func (e *Engine) expect(ctx context.Context, x *Expect) {
	began := time.Now()
	what, holds := e.condition(x)
	var err error
	for end := began.Add(time.Duration(x.Within)); ; {
		if err = holds(ctx); err == nil || time.Now().After(end) || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(step):
		}
	}
	if ctx.Err() != nil {
		return
	}
	e.note(Check{What: what, Took: time.Since(began), Err: err})
}

// note keeps how a check went, and says it.
func (e *Engine) note(check Check) {
	e.mu.Lock()
	e.checks = append(e.checks, check)
	e.mu.Unlock()
	if check.Err != nil {
		e.screen.Say("  FAIL    %s: %v", check.What, check.Err)
		return
	}
	e.screen.Say("          %s after %.1fs", check.What, check.Took.Seconds())
}

// condition says in words what is expected, and gives the test of it.
func (e *Engine) condition(x *Expect) (what string, holds func(context.Context) error) {
	switch {
	case x.Presence != "":
		return fmt.Sprintf("presence of %s is %s", x.Presence, x.State), func(ctx context.Context) error {
			got, err := e.world.Presence(ctx, e.cars[x.Presence].Vehicle)
			if err == nil && got != x.State {
				err = fmt.Errorf("it is %s", got)
			}
			return err
		}
	case x.StateOf != "":
		return fmt.Sprintf("state of %s has %s", x.StateOf, x.Signal), func(ctx context.Context) error {
			known, err := e.world.KnownSignal(ctx, e.cars[x.StateOf].Vehicle, x.Signal)
			if err == nil && !known {
				err = errors.New("it is not known")
			}
			return err
		}
	}
	return fmt.Sprintf("campaign %s is %s", x.Campaign, x.Status), func(context.Context) error {
		ops := e.operations()
		if ops == nil {
			return errors.New("nothing was pushed")
		}
		r, ok := ops.Result(x.Campaign)
		if !ok {
			return errors.New("no result came")
		}
		if r.State != x.Status {
			return errors.New(strings.TrimSpace(fmt.Sprintf("it is %s %s %s", r.State, r.Reason, r.Detail)))
		}
		return nil
	}
}
