// Package power decides what ignition and shutdown notices mean for the agent:
// when everything goes to disk, how long it may still upload, when it says that it
// sleeps, and how it sleeps and wakes.
//
//	        ignition off              window over, or all uploaded
//	awake ───────────────► uploading ───────────────► asleep ──► suspend, wait or stop
//	  ▲   flush within 1 s     │                        │
//	  └────────────────────────┴── ignition on, alarm ──┘ (after an alarm: uploading)
//
// A shutdown notice overrides all: flush, say goodbye within the notice, and wait for the end.
//
// It knows neither buses nor batches nor MQTT; see Flusher and Line.
package power

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	hal "telltale.dev/hal/power"
)

// Flusher puts everything that is collected on disk before it returns.
type Flusher interface {
	Flush(ctx context.Context) error
}

// Line is the way to the cloud.
type Line interface {
	// Uploaded says that nothing waits that may go now.
	Uploaded() bool
	// Leave announces "asleep" with the time of waking (zero: unknown), or "offline",
	// and keeps away until Return. It takes about within (zero: as long as is usual).
	Leave(ctx context.Context, asleep bool, wakes time.Time, within time.Duration) error
	Return()
}

// After is what follows when all is said.
type After string

// What may follow.
const (
	Wait    After = "wait"    // stay as a process, off the network: somebody else cuts the power
	Suspend After = "suspend" // put the machine to sleep
	Stop    After = "stop"    // end the program with ErrStop: whoever supervises it powers off
)

// ErrStop ends Run when the ignition is off and the setting is Stop.
var ErrStop = errors.New("ignition is off: stopped to be powered off")

// Config of a Keeper. Without Supply there is no power management, and nothing else is needed.
type Config struct {
	Supply hal.Supply
	// Waker arms the alarm; nil: nothing wakes the machine but the ignition.
	Waker hal.Waker
	// Sleeper is needed for Suspend.
	Sleeper hal.Sleeper
	Flusher Flusher
	Line    Line
	// Window is how long after ignition off the agent may upload; it ends early when all is uploaded.
	Window time.Duration
	After  After // empty: Wait
	// WakeAfter is how long it sleeps before it uploads again; zero: no alarm.
	WakeAfter time.Duration
	// WakeByModem lets a message to the modem wake the machine.
	WakeByModem bool
	Log         *slog.Logger
}

// Times that are no settings.
const (
	flushTime   = time.Second            // from ignition off to the disk
	flushAgain  = 250 * time.Millisecond // after the first flush, for what was on its way through the pipeline
	leaveTime   = 10 * time.Second       // longest goodbye
	look        = 200 * time.Millisecond // how often it looks whether all is uploaded
	settle      = 300 * time.Millisecond // after waking, until the supply's state is known again
	falseAlarm  = 30 * time.Second       // still alive so long after power was to end: the notice was wrong
	rereadAfter = time.Second            // after the supply could not be read
)

// Keeper watches the supply.
type Keeper struct {
	cfg     Config
	changed chan struct{} // receives after a change of state; capacity 1

	mu     sync.Mutex // guards what follows
	state  hal.State
	asleep bool

	// Owned by Run.
	disbelieved time.Time // Ends of a notice that was wrong
}

// New checks the settings.
func New(cfg Config) (*Keeper, error) {
	if cfg.After == "" {
		cfg.After = Wait
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.After != Wait && cfg.After != Suspend && cfg.After != Stop:
		return nil, fmt.Errorf("power: after %q: expected wait, suspend or stop", cfg.After)
	case cfg.Window < 0 || cfg.WakeAfter < 0:
		return nil, errors.New("power: expected times of at least zero")
	case cfg.Supply != nil && (cfg.Flusher == nil || cfg.Line == nil):
		return nil, errors.New("power: expected a flusher and a line")
	case cfg.Supply != nil && cfg.After == Suspend && cfg.Sleeper == nil:
		return nil, errors.New("power: expected a machine that can be suspended")
	}
	return &Keeper{cfg: cfg, changed: make(chan struct{}, 1)}, nil
}

// Status is the keeper's view at one moment.
type Status struct {
	Ignition hal.Ignition // Unknown without a supply
	Ends     time.Time    // when power ends; zero: no notice
	Asleep   bool         // off the network, on purpose
}

// Status may be called from any goroutine.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Status{Ignition: k.state.Ignition, Ends: k.state.Ends, Asleep: k.asleep}
}

func (k *Keeper) setAsleep(asleep bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asleep = asleep
}

func (k *Keeper) now() hal.State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// Run keeps watch until ctx ends (nil), or returns ErrStop.
func (k *Keeper) Run(ctx context.Context) error {
	if k.cfg.Supply == nil {
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { k.watch(ctx) })
	defer watching.Wait()
	defer cancel()
	for ctx.Err() == nil {
		state := k.now()
		switch {
		case !state.Ends.IsZero() && !state.Ends.Equal(k.disbelieved):
			k.ending(ctx, state)
		case state.Ignition == hal.Off:
			if err := k.off(ctx); err != nil {
				return err
			}
		default:
			k.wait(ctx, time.Time{}, state, nil)
		}
	}
	return nil
}

// watch follows the supply until ctx ends.
func (k *Keeper) watch(ctx context.Context) {
	said := ""
	for last := (hal.State{}); ; {
		state, err := k.cfg.Supply.Next(ctx, last)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if said != err.Error() {
				k.cfg.Log.Warn("ignition cannot be read; taken as it was last", "error", err)
				said = err.Error()
			}
			sleep(ctx, rereadAfter)
			continue
		}
		if log := k.cfg.Log; state.Ends.IsZero() {
			log.Info("power", "ignition", state.Ignition.String())
		} else {
			log.Info("power", "ignition", state.Ignition.String(), "ends", state.Ends)
		}
		said, last = "", state
		k.mu.Lock()
		k.state = state
		k.mu.Unlock()
		select {
		case k.changed <- struct{}{}:
		default:
		}
	}
}

// wait returns when the state is no longer from, done says so, the time until has come (zero:
// never), or ctx ends. It says whether the state is still the same.
func (k *Keeper) wait(ctx context.Context, until time.Time, from hal.State, done func() bool) (same bool) {
	var alarm, tick <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		alarm = t.C
	}
	if done != nil {
		t := time.NewTicker(look)
		defer t.Stop()
		tick = t.C
	}
	for {
		if same = k.now().Equal(from); !same || ctx.Err() != nil || done != nil && done() {
			return same
		}
		select {
		case <-ctx.Done():
		case <-k.changed:
		case <-tick:
		case <-alarm:
			return k.now().Equal(from)
		}
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
