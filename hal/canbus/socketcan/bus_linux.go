package socketcan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// Bus is one CAN_RAW socket.
type Bus struct {
	opts  Options
	index int // of the interface
	fd    int
	wake  int // eventfd that ends a wait

	// life is held for reading while fd and wake are used; Close takes it when everybody has let go.
	life   sync.RWMutex
	closed atomic.Bool
	done   chan struct{} // closed by Close

	received, dropped atomic.Uint64
	errors            errorCounters

	// Owned by Receive.
	batch    batch
	tick     *time.Timer
	last     time.Time // when frames were read last
	busy     bool      // frames come more than one a tick
	more     bool      // the queue was not empty
	seen     uint32    // the kernel's drop counter
	failure  error     // the interface is gone
	watched  context.Context
	stopWake func() bool

	sending sync.Mutex // guards out
	out     outBatch
}

var (
	_ canbus.Bus       = (*Bus)(nil)
	_ canbus.Sender    = (*Bus)(nil)
	_ canbus.Filterer  = (*Bus)(nil)
	_ canbus.Inspector = (*Bus)(nil)
)

// Open attaches to the interface, which must be up, after setting it as the
// options ask for. The bus can send everything; canbus.Restrict holds it to
// Options.Send. The error wraps canbus.ErrConfig when trying again is of no use.
func Open(ctx context.Context, o Options) (canbus.Bus, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fd, err := Listen(o)
	if err != nil {
		return nil, err
	}
	return newBus(fd, o)
}

// newBus makes a bus of a socket that is set up and bound, and owns it.
func newBus(fd int, o Options) (canbus.Bus, error) {
	b := &Bus{opts: o, fd: fd, done: make(chan struct{}), tick: time.NewTimer(time.Hour)}
	err := b.complete()
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("can interface %s: %w", o.Interface, err)
	}
	b.batch.init()
	b.out.init()
	return b, nil
}

func (b *Bus) complete() (err error) {
	if b.index, err = boundTo(b.fd); err != nil {
		return err
	}
	if b.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	return nil
}

// MaxFilters implements canbus.Filterer.
func (b *Bus) MaxFilters() int { return unix.CAN_RAW_FILTER_MAX }

// SetFilters implements canbus.Filterer. A filter for one identifier costs the
// kernel a table look-up, any other one a comparison with each frame of the interface.
func (b *Bus) SetFilters(filters []can.Filter) error {
	if len(filters) > unix.CAN_RAW_FILTER_MAX {
		return b.fail(fmt.Errorf("%d filters, at most %d are possible", len(filters), unix.CAN_RAW_FILTER_MAX))
	}
	list := make([]unix.CanFilter, max(len(filters), 1))
	for i, f := range filters {
		// Remote frames are out: only then does the kernel use its tables (can_rcv_list_find).
		list[i] = unix.CanFilter{Id: uint32(f.ID), Mask: uint32(f.Mask) | unix.CAN_RTR_FLAG}
	}
	if filters != nil {
		list = list[:len(filters)]
	}
	b.life.RLock()
	defer b.life.RUnlock()
	if b.closed.Load() {
		return b.fail(net.ErrClosed)
	}
	if err := unix.SetsockoptCanRawFilter(b.fd, unix.SOL_CAN_RAW, unix.CAN_RAW_FILTER, list); err != nil {
		return b.fail(fmt.Errorf("filters: %w", err))
	}
	return nil
}

// Stats implements canbus.Bus.
func (b *Bus) Stats() canbus.Stats {
	return canbus.Stats{Received: b.received.Load(), Dropped: b.dropped.Load()}
}

// Errors implements canbus.Inspector.
func (b *Bus) Errors() canbus.Errors { return b.errors.sum() }

// Link implements canbus.Inspector.
func (b *Bus) Link() (canbus.Link, error) {
	l, err := readLink(b.index)
	if err != nil {
		return l, b.fail(err)
	}
	return l, nil
}

func (b *Bus) fail(err error) error { return fmt.Errorf("can interface %s: %w", b.opts.Interface, err) }

// kick ends a wait of Receive.
func (b *Bus) kick() {
	b.life.RLock()
	defer b.life.RUnlock()
	if b.wake >= 0 {
		_, _ = unix.Write(b.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Close implements canbus.Bus. It waits for calls under way, which it ends, and may be called twice.
func (b *Bus) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	close(b.done)
	b.kick()
	b.life.Lock()
	defer b.life.Unlock()
	if b.stopWake != nil {
		b.stopWake()
	}
	err := errors.Join(unix.Close(b.wake), unix.Close(b.fd))
	b.wake, b.fd = -1, -1
	return err
}
