package backbone

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	// reviveEvery is how often is looked whether there is room again.
	reviveEvery = 500 * time.Millisecond
	// reviveTries is how many starts may fail for another reason than room before the failure is final.
	reviveTries = 5
	// reviveFiles is how many files must be free to be opened before JetStream is started again.
	reviveFiles = 64
)

// mend starts JetStream again after each passing failure, until ctx ends. The committers
// refuse meanwhile; readers and watches go on when the server is back, as they do
// with an external one.
func (b *Backbone) mend(ctx context.Context, cfg Config) {
	for {
		select {
		case <-b.fault.halted:
		case <-ctx.Done():
			return
		}
		if !b.revive(ctx, cfg) {
			return
		}
	}
}

// revive waits for room and starts the server again, as often as it takes. It is false when that is over.
func (b *Backbone) revive(ctx context.Context, cfg Config) bool {
	for failures := 0; ; {
		select {
		case <-time.After(cfg.reviveEvery):
		case <-ctx.Done():
			return false
		}
		if !b.server.roomAgain() {
			continue
		}
		err := b.server.restart(cfg, b.fault)
		if err == nil {
			err = b.checkRevived(ctx)
		}
		switch {
		case err == nil:
			b.fault.mended()
			b.takes("backbone")
			return true
		case ctx.Err() != nil:
			return false
		case errors.Is(err, ErrFull), passing(err.Error()):
			continue
		}
		b.log.Warn("starting the storage again failed", "err", err)
		if failures++; failures >= reviveTries || errors.Is(err, errForgotten) {
			b.fault.fail(fmt.Errorf("%w: %w", ErrFailed, err))
			return false
		}
	}
}

// roomAgain says whether the disk has more than its reserve, and whether files can be opened.
func (e *embedded) roomAgain() bool {
	free, err := e.space.free(e.space.path)
	if err != nil || free < e.space.reserve+e.space.margin() {
		return false
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for range reviveFiles {
		f, err := os.Open(e.dir.path)
		if err != nil {
			return false
		}
		files = append(files, f)
	}
	return true
}

// restart stops the server and starts another one on the same directory, which stays locked.
func (e *embedded) restart(cfg Config, f *fault) error {
	e.stopServer()
	return e.start(cfg, f)
}

// errForgotten ends in a final failure: the disk does not have what was acknowledged.
var errForgotten = errors.New("messages that were acknowledged are not on disk")

// checkRevived waits until the new server answers for every stream, and wants all of them, with all that was acknowledged.
func (b *Backbone) checkRevived(ctx context.Context) error {
	deadline, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for _, l := range []link{b.writer, b.bulk, b.reader} {
		for !l.conn.IsConnected() {
			select {
			case <-time.After(reconnectWait):
			case <-deadline.Done():
				return errNoConnection
			}
		}
	}
	if err := b.checkRecovered(deadline); err != nil {
		return err
	}
	for _, l := range b.declared.Load().names {
		if l.Storage == InMemory {
			if err := b.makeStream(deadline, &l.Stream); err != nil {
				return err
			}
			continue
		}
		info, err := b.info(deadline, l.Name)
		if err != nil {
			return err
		}
		if acknowledged := l.acknowledged.Load(); info.Last < acknowledged {
			return fmt.Errorf("stream %s ends at %d, expected %d: %w", l.Name, info.Last, acknowledged, errForgotten)
		}
		if err := b.checkHoles(deadline, &l.Stream); err != nil {
			return err
		}
	}
	return nil
}
