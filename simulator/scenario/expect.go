package scenario

import (
	"context"
	"time"
)

// expect waits until an expectation is met or its time is up, and notes how it went.
func (e *Engine) expect(ctx context.Context, x *Expect) {
	began := time.Now()
	expected, ok := x.That.(condition)
	if !ok {
		return // looked at when everything has stopped
	}
	var err error
	for end := began.Add(time.Duration(x.Within)); ; {
		if err = expected.holds(ctx, e); err == nil || time.Now().After(end) || ctx.Err() != nil {
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
	e.note(Check{What: expected.what(), Took: time.Since(began), Err: err})
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
