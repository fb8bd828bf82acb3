package power

import (
	"context"
	"time"

	hal "telltale.dev/hal/power"
)

// off is what follows when the ignition is off. It returns when the state has
// changed or the machine has woken; the caller looks anew then.
func (k *Keeper) off(ctx context.Context) error {
	state := k.now()
	k.flush(ctx, flushTime)
	if !k.wait(ctx, time.Now().Add(k.cfg.Window), state, k.cfg.Line.Uploaded) || ctx.Err() != nil {
		return nil
	}
	wakes := k.arm()
	k.leave(ctx, true, wakes, leaveTime)
	k.flush(ctx, flushTime)
	k.setAsleep(true)
	if k.cfg.After == Stop && ctx.Err() == nil && k.now().Equal(state) {
		k.cfg.Log.Info("stopping to be powered off")
		return ErrStop
	}
	k.rest(ctx, state, wakes)
	k.setAsleep(false)
	if ctx.Err() != nil {
		return nil // the last word stands
	}
	k.disarm()
	k.cfg.Line.Return()
	return nil
}

// rest sleeps until the state changes or the time of waking has come. A machine that
// cannot be suspended stays awake.
func (k *Keeper) rest(ctx context.Context, state hal.State, wakes time.Time) {
	if k.cfg.After == Suspend && k.now().Equal(state) && ctx.Err() == nil {
		began := time.Now()
		err := k.cfg.Sleeper.Suspend()
		if err == nil {
			k.cfg.Log.Info("woken", "slept", time.Since(began).Round(time.Second))
			k.wait(ctx, time.Now().Add(settle), state, nil) // was it the ignition?
			return
		}
		k.cfg.Log.Warn("cannot suspend; staying awake until the ignition is on", "error", err)
	}
	k.wait(ctx, wakes, state, nil)
}

// arm sets what shall wake the machine. It gives the time of the alarm, zero when there is none.
func (k *Keeper) arm() time.Time {
	var w hal.Wake
	if k.cfg.WakeAfter > 0 {
		w.At = time.Now().Add(k.cfg.WakeAfter).Round(time.Second)
	}
	w.Modem = k.cfg.WakeByModem
	switch {
	case w == hal.Wake{}:
		return time.Time{}
	case k.cfg.Waker == nil && k.cfg.After == Wait: // our own clock wakes us
		return w.At
	case k.cfg.Waker == nil:
		return time.Time{}
	}
	err := k.cfg.Waker.Arm(w)
	if err != nil && w.Modem && !w.At.IsZero() { // the alarm alone is better than nothing
		k.cfg.Log.Warn("not everything that shall wake the machine can be armed", "error", err)
		w.Modem = false
		err = k.cfg.Waker.Arm(w)
	}
	if err != nil {
		k.cfg.Log.Warn("nothing but the ignition will wake the machine", "error", err)
		if k.cfg.After != Wait {
			return time.Time{}
		}
	}
	return w.At
}

func (k *Keeper) disarm() {
	if k.cfg.Waker == nil || k.cfg.WakeAfter == 0 && !k.cfg.WakeByModem {
		return
	}
	if err := k.cfg.Waker.Arm(hal.Wake{}); err != nil {
		k.cfg.Log.Debug("alarm not cleared", "error", err)
	}
}

// ending is what follows a notice that power ends: everything to disk, goodbye,
// and wait for the end. Half of the time is for the disk, twice.
func (k *Keeper) ending(ctx context.Context, state hal.State) {
	left := max(time.Until(state.Ends), 0)
	k.cfg.Log.Warn("power ends", "left", left.Round(time.Millisecond))
	k.flush(ctx, min(left/4, flushTime))
	k.leave(ctx, false, time.Time{}, min(left/2, leaveTime))
	k.flush(ctx, min(left/4, flushTime))
	k.setAsleep(true)
	if k.wait(ctx, state.Ends.Add(falseAlarm), state, nil) && ctx.Err() == nil {
		k.cfg.Log.Warn("power did not end as announced; going on")
		k.disbelieved = state.Ends
	}
	k.setAsleep(false)
	if next := k.now(); ctx.Err() == nil && (next.Ends.IsZero() || next.Ends.Equal(k.disbelieved)) {
		k.cfg.Line.Return()
	}
}

// flush puts everything on disk: at once, and again what was still on its way through the pipeline.
func (k *Keeper) flush(ctx context.Context, within time.Duration) {
	limit, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := k.cfg.Flusher.Flush(limit)
	if err == nil {
		sleep(limit, min(flushAgain, within/4))
		err = k.cfg.Flusher.Flush(limit)
	}
	if err != nil && ctx.Err() == nil { // else the agent stops, which flushes as well
		k.cfg.Log.Error("not everything is on disk", "error", err)
	}
}

func (k *Keeper) leave(ctx context.Context, asleep bool, wakes time.Time, within time.Duration) {
	limit, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if within == leaveTime {
		within = 0
	}
	if err := k.cfg.Line.Leave(limit, asleep, wakes, within); err != nil && ctx.Err() == nil {
		k.cfg.Log.Warn("the goodbye was not heard in time", "error", err)
	}
}
