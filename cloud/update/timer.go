package update

import (
	"context"
	"errors"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/updates"
)

// Waits of the time-outs.
const (
	// grace is how long after a start of the cloud no update of before times out: what
	// the vehicles said meanwhile is on its way.
	grace = 30 * time.Second
	// lookAgain bounds a wait, so that a clock that was set does no harm.
	lookAgain = time.Minute
)

// Run times updates out until ctx ends. The times are on disk, so that they hold across restarts.
func (u *Updates) Run(ctx context.Context) error {
	for {
		now := u.cfg.Now()
		next := u.overdue(ctx, now)
		timer := time.NewTimer(min(max(next.Sub(now), 10*time.Millisecond), lookAgain))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-u.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// overdue ends what has to end by now and gives the time of the next one.
func (u *Updates) overdue(ctx context.Context, now time.Time) time.Time {
	next := now.Add(lookAgain)
	for vid, d := range u.deadlines() {
		at, due := d.at, time.UnixMilli(d.at)
		if earliest := u.started.Add(grace); due.Before(earliest) && d.began.Before(u.started) {
			due = earliest
		}
		if due.After(now) {
			if due.Before(next) {
				next = due
			}
			continue
		}
		if err := u.timeOut(ctx, vid, at); err != nil && ctx.Err() == nil {
			u.cfg.Log.Error("time-out of an update is not stored", "err", err)
			next = now.Add(time.Second)
		}
	}
	return next
}

// deadline is when an update times out, in ms since the Unix epoch, and when it began.
type deadline struct {
	at    int64
	began time.Time
}

// deadlines of the updates under way.
func (u *Updates) deadlines() map[protocol.VehicleID]deadline {
	u.mu.RLock()
	defer u.mu.RUnlock()
	all := map[protocol.VehicleID]deadline{}
	for vid, r := range u.records {
		if r.Execution != nil && r.Execution.Deadline > 0 {
			all[vid] = deadline{r.Execution.Deadline, time.UnixMilli(r.Execution.Began)}
		}
	}
	return all
}

var errMeanwhile = errors.New("something was heard meanwhile")

// timeOut ends an update whose deadline still is at. The new document asks the device
// to drop it, if it can; what the device answers corrects the state.
func (u *Updates) timeOut(ctx context.Context, vid protocol.VehicleID, at int64) error {
	_, err := u.change(ctx, vid, func(rec *record) error {
		e := rec.Execution
		if e == nil || e.Deadline != at {
			return errMeanwhile
		}
		e.TimedOutIn, e.Revision, e.Assumed = e.State, u.revision(e), true
		e.enter(updates.TimedOut, "", u.cfg.Now())
		return nil
	})
	if errors.Is(err, errMeanwhile) {
		return nil
	}
	if err == nil {
		u.stats.timeouts.Add(1)
	}
	return err
}
