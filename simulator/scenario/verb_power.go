package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Power cuts a device's power, or gives it back.
type Power struct {
	Device string `yaml:"power"`
	Cut    string `yaml:"cut"` // now or at-next-write
	On     bool   `yaml:"on"`
}

func (p *Power) check(s *Scenario) error {
	if err := s.checkDevice(p.Device); err != nil {
		return err
	}
	switch {
	case p.On == (p.Cut != ""):
		return errors.New("power: expected cut or on")
	case !p.On && p.Cut != "now" && p.Cut != "at-next-write":
		return errors.New("power: expected cut: now or at-next-write")
	}
	return nil
}

func (p *Power) do(ctx context.Context, e *Engine) error {
	u := e.one(p.Device)
	switch {
	case p.On:
		e.say(u.Title() + ": power is back")
		return u.Start(ctx)
	case p.Cut == "at-next-write":
		return cutInWrite(ctx, e, u)
	}
	u.Kill()
	return nil
}

const (
	// longestWrite is how long a power cut waits for the agent to write. The agent commits
	// several times meanwhile if it has something to commit; see commitInterval.
	longestWrite = 10 * time.Second
	// lastWrite is how long it waits while the buses are silent: longer than the agent's commit interval.
	lastWrite = 3 * time.Second
)

// errNoWrite: the power was cut, but in no write.
var errNoWrite = fmt.Errorf("the agent wrote nothing within %v, so the cut hit no write", longestWrite)

// cutInWrite cuts the power in the middle of a write, and notes as a check whether one
// came. While the buses are silent there may be nothing left to write.
func cutInWrite(ctx context.Context, e *Engine, u *unit) error {
	began := time.Now()
	limit, cancel := context.WithTimeout(ctx, longestWrite)
	silent := false
	var watching sync.WaitGroup
	watching.Go(func() {
		silent = u.car.awaitSilence(limit)
		cancel()
	})
	hit := u.KillAtNextWrite(limit)
	cancel()
	watching.Wait()
	check := Check{What: "power cut of " + u.Title() + " in the middle of a write", Took: time.Since(began)}
	switch {
	case hit:
	case silent:
		check.What = "power cut of " + u.Title() + ", whose buses are silent: nothing was left to write"
	default:
		check.Err = errNoWrite
	}
	if ctx.Err() == nil {
		e.note(check)
	}
	return ctx.Err()
}

// awaitSilence waits until no frame has been sent for the time that a last write takes, or ctx ends.
func (c *car) awaitSilence(ctx context.Context) (silent bool) {
	frames := func() (n uint64) {
		if d := c.driving.Load(); d != nil {
			n = d.Progress().Frames
		}
		return n
	}
	for last, since := frames(), time.Now(); ctx.Err() == nil; time.Sleep(step) {
		if n := frames(); n != last {
			last, since = n, time.Now()
		} else if time.Since(since) >= lastWrite {
			return true
		}
	}
	return false
}
