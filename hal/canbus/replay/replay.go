// Package replay is a CAN bus that plays back frames: a fixed list, an
// iterator, or any other Source, with their recorded timing or as fast as
// they are read.
//
// Everything happens within the calls to Receive; nothing is lost, a late
// reader only makes the bus late. To play to several processes, use virtual.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"sync"
	"time"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// readAhead is how many frames are taken from the source at once.
const readAhead = 256

// Source gives the frames to play, in order of time. Next fills frames with at
// least one, waits for it at most until ctx ends, and gives io.EOF at the end.
// A Source that is an io.Closer is closed with the bus.
type Source interface {
	Next(ctx context.Context, frames []can.Frame) (n int, err error)
}

// List plays a fixed list. The caller must not change it meanwhile.
func List(frames []can.Frame) Source { return &list{frames} }

type list struct{ rest []can.Frame }

func (l *list) Next(_ context.Context, frames []can.Frame) (int, error) {
	n := copy(frames, l.rest)
	if l.rest = l.rest[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Sequence plays what an iterator gives. The iterator should not wait: the bus cannot interrupt it.
func Sequence(frames iter.Seq[can.Frame]) Source {
	next, stop := iter.Pull(frames)
	return &sequence{next, stop}
}

type sequence struct {
	next func() (can.Frame, bool)
	stop func()
}

func (s *sequence) Next(_ context.Context, frames []can.Frame) (n int, err error) {
	for n < len(frames) {
		f, ok := s.next()
		if !ok {
			break
		}
		frames[n] = f
		n++
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (s *sequence) Close() error {
	s.stop()
	return nil
}

// Config of a Bus.
type Config struct {
	Name   string // for errors
	Source Source // required
	// Speed 1 keeps the recorded timing from the first Receive on, 10 plays ten times as fast. 0: without any waiting.
	Speed float64
}

// Bus plays one source. It implements canbus.Bus.
type Bus struct {
	cfg Config

	// Owned by Receive.
	buf     [readAhead]can.Frame
	ready   []can.Frame // what of buf is still to be given
	failure error       // of the source, for when ready is empty
	began   time.Time   // when the first frame was given
	zero    int64       // its time, µs

	mu       sync.Mutex // guards all below
	received uint64
	closed   bool
	cancel   context.CancelFunc // of the Receive under way
	idle     *sync.Cond         // no Receive under way
}

var _ canbus.Bus = (*Bus)(nil)

// New makes a bus.
func New(cfg Config) (*Bus, error) {
	if cfg.Source == nil {
		return nil, errors.New("replay: no source")
	}
	if !(cfg.Speed >= 0) {
		return nil, fmt.Errorf("replay: speed %v, want 0 or more", cfg.Speed)
	}
	b := &Bus{cfg: cfg}
	b.idle = sync.NewCond(&b.mu)
	return b, nil
}

// Receive implements canbus.Bus.
func (b *Bus) Receive(ctx context.Context, frames []can.Frame) (n int, err error) {
	if len(frames) == 0 {
		return 0, nil
	}
	ctx, done, err := b.enter(ctx)
	if err != nil {
		return 0, err
	}
	n, err = b.receive(ctx, frames)
	if done(n) && err != nil {
		err = fmt.Errorf("replay %s: %w", b.cfg.Name, net.ErrClosed)
	}
	return n, err
}

// enter makes ctx end with Close, too. done counts n frames and says whether the bus has been closed.
func (b *Bus) enter(ctx context.Context) (_ context.Context, done func(n int) bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, fmt.Errorf("replay %s: %w", b.cfg.Name, net.ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	b.cancel = cancel
	return ctx, func(n int) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		cancel()
		b.cancel = nil
		b.received += uint64(n)
		b.idle.Broadcast()
		return b.closed
	}, nil
}

// receive gives the frames that are due, after waiting for the first.
func (b *Bus) receive(ctx context.Context, frames []can.Frame) (n int, err error) {
	if len(b.ready) == 0 {
		if err := b.fill(ctx); err != nil {
			return 0, err
		}
	}
	if b.cfg.Speed == 0 {
		n = copy(frames, b.ready)
		b.ready = b.ready[n:]
		return n, nil
	}
	if b.began.IsZero() {
		b.began, b.zero = time.Now(), b.ready[0].Time
	}
	if err := wait(ctx, b.due(&b.ready[0])-time.Since(b.began)); err != nil {
		return 0, err
	}
	now := time.Since(b.began)
	for n == 0 || n < min(len(frames), len(b.ready)) && b.due(&b.ready[n]) <= now {
		frames[n] = b.ready[n]
		n++
	}
	b.ready = b.ready[n:]
	return n, nil
}

// fill gets frames from the source. An error that comes with frames waits until they have been given.
func (b *Bus) fill(ctx context.Context) error {
	if b.failure != nil {
		return b.failure
	}
	n, err := b.cfg.Source.Next(ctx, b.buf[:])
	b.ready = b.buf[:n]
	switch {
	case err == nil && n == 0:
		err = errors.New("the source gave neither a frame nor an error")
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		if n > 0 {
			return nil
		}
		return err // not the source's fault: it may be asked again
	}
	if err != io.EOF {
		err = fmt.Errorf("replay %s: %w", b.cfg.Name, err)
	}
	b.failure = err
	if n > 0 {
		return nil
	}
	return err
}

// due says how long after the first frame f is to be given.
func (b *Bus) due(f *can.Frame) time.Duration {
	return time.Duration(float64(f.Time-b.zero) * 1000 / b.cfg.Speed)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stats implements canbus.Bus; nothing is ever dropped.
func (b *Bus) Stats() canbus.Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return canbus.Stats{Received: b.received}
}

// Close implements canbus.Bus. It waits for a Receive under way, which it ends, and closes the source. It may be called twice.
func (b *Bus) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	for b.cancel != nil {
		b.cancel()
		b.idle.Wait()
	}
	if c, ok := b.cfg.Source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
