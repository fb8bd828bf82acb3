package update

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telltale.dev/hal/slots"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"
)

// Bounds of what is tried again.
const (
	maxInstalls = 3 // of one update, begun and not ended
	maxRestarts = 3 // asked for in a row without the machine having been restarted
	maxStarts   = 5 // of the agent while its firmware is on trial: more is a crash loop
)

// healthTick is at least how often a firmware on trial is looked at.
const healthTick = 100 * time.Millisecond

// settle brings journal and slots together, after a start and after an install:
// it says what became of the update, waits until a firmware on trial proves itself, or asks for a restart.
func (u *Updater) settle(ctx context.Context) error {
	if u.cfg.Slots == nil {
		return u.withoutSlots()
	}
	st, err := u.status(ctx)
	if err != nil {
		return err
	}
	if u.j.switching() {
		err = u.reconcile(st)
	} else {
		err = u.compare(st)
	}
	if err == nil && !u.told {
		err = u.sayAgain()
	}
	if err != nil {
		return err
	}
	if u.j.State == updates.Rebooting || st.Trial {
		return u.trial(ctx)
	}
	return u.keepTries(st)
}

// withoutSlots ends an update that an earlier configuration began, and else says nothing.
func (u *Updater) withoutSlots() error {
	if u.j.active() {
		return u.fail(reasons.NotSupported, errors.New("this device has no firmware slots"))
	}
	return nil
}

// sayAgain says after a start how things stand, whatever was said before it.
func (u *Updater) sayAgain() error {
	if u.j.State == "" || u.j.State == updates.Pending {
		u.tell()
		return nil
	}
	return u.move(func(*journal) {})
}

// status asks the slots until they answer.
func (u *Updater) status(ctx context.Context) (slots.Status, error) {
	for {
		st, err := u.cfg.Slots.Status()
		if err == nil || ctx.Err() != nil {
			return st, errors.Join(err, ctx.Err())
		}
		u.cfg.Log.Error("firmware slots do not answer", "error", err)
		u.pause(ctx, u.cfg.Timing.Retry)
	}
}

// reconcile holds an install or a restart that was begun against what runs.
func (u *Updater) reconcile(st slots.Status) error {
	switch st.Booted {
	case u.j.To:
		return u.inNew(st)
	case u.j.From:
		return u.inOld(st)
	}
	return u.fail(reasons.SlotFailed, fmt.Errorf("%w; the boot state: %s", slots.ErrBooted, st.Problem))
}

// inNew: the new firmware runs.
func (u *Updater) inNew(st slots.Status) error {
	if u.j.Undo != "" { // it was to go, and the machine was not restarted
		return u.back(u.j.Undo, u.j.UndoDetail)
	}
	if !st.Trial && st.Confirmed() == u.j.To { // confirmed, and the power went before the journal had it
		return u.proved()
	}
	err := u.move(func(j *journal) {
		j.State, j.Restarts = updates.Rebooting, 0
		if !u.counted {
			j.Starts++
		}
	})
	u.counted = u.counted || err == nil
	return err
}

// inOld: the former firmware runs.
func (u *Updater) inOld(st slots.Status) error {
	switch {
	case u.j.Undo != "":
		return u.end(updates.RolledBack, u.j.Undo, u.j.UndoDetail)
	case st.Problem == "" && st.Next() == u.j.To && st.Left[u.j.To] == slots.Tries: // installed; the machine is still to be restarted
		if u.j.Restarts >= maxRestarts {
			return u.giveUpRestart()
		}
		if err := u.move(func(j *journal) {
			j.State = updates.Rebooting
			j.Restarts++
		}); err != nil {
			return err
		}
		return ErrRestart
	case u.j.State == updates.Installing && (st.Problem != "" || st.Next() != u.j.To): // cut short: begun anew
		return nil
	}
	if st.Next() == u.j.To { // tried, and given up although it has tries left: no later power-on is to start it
		if err := u.cfg.Slots.Confirm(); err != nil {
			return err
		}
	}
	detail := "the boot loader started the former slot again"
	if st.Problem != "" {
		detail += "; " + st.Problem
	}
	return u.end(updates.RolledBack, reasons.BootFailed, detail)
}

// giveUpRestart makes the running slot the first again, so that no later power-on starts what was reported as failed.
func (u *Updater) giveUpRestart() error {
	if err := u.cfg.Slots.Confirm(); err != nil {
		return err
	}
	return u.fail(reasons.RestartRefused, fmt.Errorf("asked %d times; is whoever supervises the agent told to restart the machine at exit code %d?",
		maxRestarts, slots.ExitRestart))
}

// trial waits until the firmware that runs is healthy and connected, and goes back when it is not in time.
func (u *Updater) trial(ctx context.Context) error {
	if u.j.State == updates.Rebooting && u.j.Starts > maxStarts {
		return u.back(reasons.Unhealthy, fmt.Sprintf("the agent was started %d times on trial", u.j.Starts))
	}
	limit := u.cfg.Timing.Health
	if s := u.j.Document.Health; s > 0 && u.j.switching() {
		limit = time.Duration(s) * time.Second
	}
	end := time.Now().Add(limit)
	var since time.Time // healthy and connected
	tick := time.NewTicker(min(healthTick, u.cfg.Timing.Settle))
	defer tick.Stop()
	for {
		if u.untold {
			u.tell() // a buffer that cannot be written is not healthy
		}
		health := u.cfg.Healthy()
		connected := u.cfg.Connected()
		now := time.Now()
		switch {
		case health != nil || !connected || u.untold:
			since = time.Time{}
		case since.IsZero():
			since = now
		}
		if !since.IsZero() && now.Sub(since) >= u.cfg.Timing.Settle {
			return u.prove(ctx)
		}
		if now.After(end) && since.IsZero() {
			return u.doubt(health, connected)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// prove makes the firmware on trial the confirmed one.
func (u *Updater) prove(ctx context.Context) error {
	for {
		err := u.cfg.Slots.Confirm()
		if err == nil {
			err = u.proved()
		}
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if errors.Is(err, slots.ErrRefused) { // that will not change
			return u.back(reasons.SlotFailed, err.Error())
		}
		u.cfg.Log.Error("firmware is not confirmed yet", "error", err)
		u.pause(ctx, u.cfg.Timing.Retry)
	}
}

func (u *Updater) proved() error {
	if !u.j.switching() { // installed by hand, or the journal was lost
		u.cfg.Log.Info("firmware on trial is confirmed")
		u.tell()
		return nil
	}
	if err := u.end(updates.Confirmed, "", ""); err != nil {
		return err
	}
	u.remember(u.j.To, u.j.To)
	return nil
}

// doubt goes back: the time is over.
func (u *Updater) doubt(health error, connected bool) error {
	switch {
	case health != nil:
		return u.back(reasons.Unhealthy, health.Error())
	case u.untold:
		return u.back(reasons.Unhealthy, "the buffer takes nothing")
	case !connected:
		return u.back(reasons.NotConnected, "the cloud was not reached")
	}
	return u.back(reasons.Unhealthy, "not healthy and connected for long enough")
}

// back makes the former slot the first and asks for a restart.
func (u *Updater) back(reason reasons.Reason, detail string) error {
	u.cfg.Log.Error("firmware on trial goes back", "reason", reason, "detail", detail)
	ours := u.j.switching()
	if ours {
		if u.j.Undo != "" && u.j.Restarts >= maxRestarts {
			return u.fail(reasons.RestartRefused, errors.New("the former slot runs at the next restart of the machine"))
		}
		next := u.j
		next.Undo, next.UndoDetail = reason, shorten(detail)
		next.Restarts++
		if err := u.keep(next); err != nil {
			return err
		}
	}
	err := u.cfg.Slots.Rollback()
	if errors.Is(err, slots.ErrRefused) && ours {
		return u.end(updates.Failed, reasons.RollbackFailed, fmt.Sprintf("%s: %s; %s", reason, detail, err.Error()))
	}
	if !errors.Is(err, slots.ErrUnbootable) {
		if err == nil {
			err = ErrRestart
		}
		return err
	}
	// There is nothing to go back to: better this firmware than none.
	if err := u.cfg.Slots.Confirm(); err != nil || !ours {
		return err
	}
	return u.end(updates.Failed, reasons.RollbackFailed, fmt.Sprintf("%s: %s", reason, detail))
}
