package backbone

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// fault remembers the first failed write to disk. JetStream keeps such an error
// until it is started again and, inside an atomic batch, does not even answer;
// its own log is where the failure shows first.
type fault struct {
	log    *slog.Logger
	failed chan struct{} // closed by fail

	mu     sync.Mutex // guards the rest
	reason error
	cancel context.CancelFunc
}

func newFault(log *slog.Logger) *fault {
	return &fault{log: log, failed: make(chan struct{}), cancel: func() {}}
}

// onFail sets what ends the commits in flight.
func (f *fault) onFail(cancel context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancel = cancel
}

// fail is called with what the server said; only the first one counts.
func (f *fault) fail(said string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reason != nil {
		return
	}
	f.reason = fmt.Errorf("%w: %s", ErrFailed, redact(said))
	close(f.failed)
	f.cancel()
	f.log.Error("writing to disk failed: end this process, make space or repair the disk, and start again", "reason", redact(said))
}

func (f *fault) err() error {
	select {
	case <-f.failed:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.reason
	default:
		return nil
	}
}
