// Package network decides what may be uploaded over the present link: on one that
// costs money, or that roams, the classes that are not urgent wait.
//
// Nothing is lost by that: what waits stays in the buffer. The package knows
// neither the buffer nor MQTT; it says what the lowest class is, see Config.Hold.
package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	hal "telltale.dev/hal/network"
	"telltale.dev/protocol"
)

// Limit is what may be uploaded.
type Limit uint8

// The limits, widest first. The zero value is All.
const (
	All    Limit = iota
	Urgent       // CS4 and above
	None
)

// String gives "all", "urgent" or "none".
func (l Limit) String() string {
	switch l {
	case Urgent:
		return "urgent"
	case None:
		return "none"
	}
	return "all"
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: it reads what String writes.
func (l *Limit) UnmarshalText(text []byte) error {
	for _, known := range []Limit{All, Urgent, None} {
		if string(text) == known.String() {
			*l = known
			return nil
		}
	}
	return fmt.Errorf("limit %.20q: expected all, urgent or none", text)
}

// Lowest is the lowest class that may go; above CS6 none may.
func (l Limit) Lowest() protocol.Priority {
	switch l {
	case Urgent:
		return protocol.CS4
	case None:
		return protocol.CS6 + 1
	}
	return protocol.PriorityUnset
}

// Config of a Watch. Without Monitor all may be uploaded always, and nothing else is needed.
type Config struct {
	Monitor hal.Monitor
	// Metered and Roaming are the limits on such a link; the narrower one counts.
	Metered, Roaming Limit
	// Hold is told the lowest class that may go.
	Hold func(lowest protocol.Priority)
	Log  *slog.Logger
}

// Watch follows the link.
type Watch struct {
	cfg Config

	mu    sync.Mutex // guards what follows
	state hal.State
	limit Limit
}

// New checks the settings.
func New(cfg Config) (*Watch, error) {
	if cfg.Monitor != nil && cfg.Hold == nil {
		return nil, errors.New("network: expected somebody to tell")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Watch{cfg: cfg}, nil
}

// Status gives the link as it was seen last, and what may be uploaded over it. It may be called from any goroutine.
func (w *Watch) Status() (hal.State, Limit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.limit
}

// retry is the wait after the link could not be looked at.
const retry = 2 * time.Second

// Run watches until ctx ends. A link that cannot be looked at is taken as it was last.
func (w *Watch) Run(ctx context.Context) {
	if w.cfg.Monitor == nil {
		<-ctx.Done()
		return
	}
	said := ""
	for last := (hal.State{}); ; {
		state, err := w.cfg.Monitor.Next(ctx, last)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			said, last = "", state
			w.take(state)
			continue
		}
		if said != err.Error() {
			w.cfg.Log.Warn("link cannot be looked at; taken as it was last", "error", err)
			said = err.Error()
		}
		pause := time.NewTimer(retry)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// take draws the conclusion from a new state.
func (w *Watch) take(state hal.State) {
	limit := All
	if state.Metered {
		limit = w.cfg.Metered
	}
	if state.Roaming {
		limit = max(limit, w.cfg.Roaming)
	}
	w.mu.Lock()
	w.state, w.limit = state, limit
	w.mu.Unlock()
	w.cfg.Log.Info("link", "type", state.Type.String(), "interface", state.Interface,
		"roaming", state.Roaming, "metered", state.Metered, "upload", limit.String())
	w.cfg.Hold(limit.Lowest())
}
