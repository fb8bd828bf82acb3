package backbone

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// fault remembers that JetStream cannot write. JetStream keeps the first error of
// a write until it is started again and, inside an atomic batch, does not even
// answer; its own log is where the failure shows first.
//
// A failure is passing when nothing is broken but something has run out: space on the
// disk, or file descriptors. Then revive starts JetStream again once there is room,
// and publishes are refused with ErrFull until then. Any other failure is final.
type fault struct {
	log    *slog.Logger
	revive bool          // passing failures may be mended
	failed chan struct{} // closed by a final failure
	halted chan struct{} // capacity 1: there is something to mend

	mu     sync.Mutex // guards the rest
	final  error
	halt   error       // a passing failure that is not mended yet
	onHalt func(error) // ends the commits in flight
	onFail func()      // ends them and the committers
}

func newFault(log *slog.Logger) *fault {
	return &fault{log: log, failed: make(chan struct{}), halted: make(chan struct{}, 1), onHalt: func(error) {}, onFail: func() {}}
}

// on sets what a passing failure and a final one end.
func (f *fault) on(halt func(error), fail func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onHalt, f.onFail = halt, fail
}

// report is called with what the server said about a write that it did not do.
func (f *fault) report(said string) {
	if !f.revive || !passing(said) {
		f.fail(fmt.Errorf("%w: %s", ErrFailed, redact(said)))
		return
	}
	f.mu.Lock()
	first := f.halt == nil && f.final == nil
	if first {
		f.halt = fmt.Errorf("%w: the disk took no more (%s); it is tried again once there is room", ErrFull, redact(said))
	}
	onHalt, why := f.onHalt, f.halt
	f.mu.Unlock()
	if !first {
		return
	}
	f.log.Error("storing has stopped: nothing is taken until there is room again", "reason", redact(said))
	select {
	case f.halted <- struct{}{}:
	default:
	}
	onHalt(why)
}

// passing says whether an error of a write is gone when room is made.
func passing(said string) bool {
	said = strings.ToLower(said)
	for _, text := range []string{"no space left", "disk quota exceeded", "too many open files", "out of space", "resources, will be disabled"} {
		if strings.Contains(said, text) {
			return true
		}
	}
	return false
}

// fail is for good; only the first one counts.
func (f *fault) fail(reason error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.final != nil {
		return
	}
	f.final = reason
	close(f.failed)
	f.onFail()
	f.log.Error("writing to disk failed: end this process, make space or repair the disk, and start again", "reason", reason)
}

// mended ends a passing failure.
func (f *fault) mended() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.halt = nil
	f.log.Info("storing goes on")
}

// err is the final failure, or nil.
func (f *fault) err() error {
	select {
	case <-f.failed:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.final
	default:
		return nil
	}
}

// refusal says why nothing can be stored now: the final failure, or a passing one. Nothing was sent to the server then.
func (f *fault) refusal() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.final, f.halt)
}
