package socketcan

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"telltale.dev/protocol/can"
)

// Pauses while the interface has no room for more frames.
const (
	minFull = 500 * time.Microsecond
	maxFull = 10 * time.Millisecond
)

// outBatch is what sendmmsg takes frames from.
type outBatch struct {
	raw      [batchSize]rawFrame
	vectors  [batchSize]unix.Iovec
	messages [batchSize]message
}

func (o *outBatch) init() {
	for i := range o.messages {
		o.vectors[i].Base = (*byte)(unsafe.Pointer(&o.raw[i]))
		o.messages[i].header.Iov = &o.vectors[i]
		o.messages[i].header.SetIovlen(1)
	}
}

// Send implements canbus.Sender. A full transmit queue is waited for. The
// error tells how many of the frames were queued before it.
func (b *Bus) Send(ctx context.Context, frames []can.Frame) error {
	b.sending.Lock()
	defer b.sending.Unlock()
	for sent := 0; sent < len(frames); {
		n, err := b.fill(frames[sent:])
		if err == nil {
			err = b.transmit(ctx, n)
		}
		if err != nil {
			if sent > 0 {
				err = fmt.Errorf("%w (after %d frames)", err, sent)
			}
			return err
		}
		sent += n
	}
	return nil
}

// fill makes a batch of the first frames. Callers hold sending.
func (b *Bus) fill(frames []can.Frame) (n int, err error) {
	n = min(len(frames), batchSize)
	for i := range frames[:n] {
		size, err := b.out.raw[i].set(&frames[i])
		if err != nil {
			return 0, b.fail(err)
		}
		b.out.vectors[i].SetLen(size)
	}
	return n, nil
}

// transmit queues the first n messages of the batch. Callers hold sending.
func (b *Bus) transmit(ctx context.Context, n int) error {
	wait := minFull
	for first := 0; first < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, errno := b.push(first, n)
		first += done
		switch errno {
		case 0:
			wait = minFull
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS:
			if err := pauseFor(ctx, b.done, wait); err != nil {
				return err
			}
			wait = min(2*wait, maxFull)
		case unix.EBADF:
			return b.fail(net.ErrClosed)
		case unix.EINVAL, unix.EMSGSIZE:
			return b.fail(fmt.Errorf("send: %w: the interface does not take such frames (CAN FD on a classic one?)", errno))
		default:
			return b.fail(fmt.Errorf("send: %w", errno))
		}
	}
	return nil
}

// push hands messages first to n to the kernel, which takes some of them.
func (b *Bus) push(first, n int) (int, unix.Errno) {
	b.life.RLock()
	defer b.life.RUnlock()
	if b.closed.Load() {
		return 0, unix.EBADF
	}
	done, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.out.messages[first])), uintptr(n-first), unix.MSG_DONTWAIT, 0, 0)
	runtime.KeepAlive(b)
	if errno != 0 {
		return 0, errno
	}
	return int(done), 0
}

func pauseFor(ctx context.Context, done <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
	}
	return nil
}
