package link

import (
	"context"
	"sync"
	"time"

	"telltale.dev/protocol"
)

// Goodbye is how the device leaves.
type Goodbye struct {
	// Asleep announces "asleep" with the time of waking (zero: unknown) instead of "offline".
	Asleep bool
	Wakes  time.Time
	// Within bounds the wait for publishes under way and for the last word; zero
	// means DrainTime and what the last word takes.
	Within time.Duration
}

// absence lets the device leave the network for a while.
//
//	Run: connecting ──Leave──► leaving ──goodbye──► gone ──Return──► connecting
type absence struct {
	mu      sync.Mutex // guards what follows
	goodbye Goodbye    // of the next graceful end
	left    bool       // Leave was called, and not Return since
	hangUp  context.CancelFunc
	gone    chan struct{} // closed when Run is away from the network
	back    chan struct{} // closed by Return
}

// Asleep makes the graceful stop announce "asleep", with the time of waking
// (zero: unknown), instead of "offline". It may be called at any time.
func (l *Link) Asleep(wakes time.Time) {
	l.absence.mu.Lock()
	defer l.absence.mu.Unlock()
	l.absence.goodbye = Goodbye{Asleep: true, Wakes: wakes}
}

// Leave says goodbye, ends the connection, and keeps away until Return. It returns
// when the device is off the network, or with ctx.Err(); it keeps away then, too. It
// may be called while Run runs, by one goroutine at a time, also again while away.
func (l *Link) Leave(ctx context.Context, g Goodbye) error {
	a := &l.absence
	a.mu.Lock()
	a.goodbye, a.left = g, true
	if a.hangUp != nil {
		a.hangUp()
	}
	if a.gone == nil {
		a.gone = make(chan struct{})
	}
	gone := a.gone
	a.mu.Unlock()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Return ends what Leave began: the device connects again.
func (l *Link) Return() {
	a := &l.absence
	a.mu.Lock()
	defer a.mu.Unlock()
	a.goodbye, a.left, a.gone = Goodbye{}, false, nil
	if a.back != nil {
		close(a.back)
		a.back = nil
	}
}

// present gives the context of the time until the next Leave.
func (a *absence) present(ctx context.Context) (context.Context, context.CancelFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	if a.left {
		cancel()
	}
	a.hangUp = cancel
	return ctx, cancel
}

// away waits for Return, or until ctx ends.
func (a *absence) away(ctx context.Context) {
	a.mu.Lock()
	a.hangUp = nil
	if !a.left {
		a.mu.Unlock()
		return
	}
	select {
	case <-a.gone:
	default:
		close(a.gone)
	}
	if a.back == nil {
		a.back = make(chan struct{})
	}
	back := a.back
	a.mu.Unlock()
	select {
	case <-back:
	case <-ctx.Done():
	}
}

// lastWord is what the device says at the end, and how long it may wait before it
// and after it.
func (l *Link) lastWord() (state protocol.PresenceState, wakes time.Time, drain, farewell time.Duration) {
	l.absence.mu.Lock()
	g := l.absence.goodbye
	l.absence.mu.Unlock()
	state, drain, farewell = protocol.PresenceOffline, l.cfg.DrainTime, farewellTime
	if g.Asleep {
		state, wakes = protocol.PresenceAsleep, g.Wakes
	}
	if g.Within > 0 {
		drain, farewell = min(drain, g.Within/2), min(farewell, g.Within/2)
	}
	return state, wakes, drain, farewell
}
