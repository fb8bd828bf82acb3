package socketcan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"telltale.dev/protocol/can"
)

// tickTime is how long Receive lets frames gather while they come closely.
const tickTime = 4 * time.Millisecond

// Receive implements canbus.Bus.
func (b *Bus) Receive(ctx context.Context, frames []can.Frame) (int, error) {
	if len(frames) == 0 {
		return 0, nil
	}
	b.life.RLock()
	defer b.life.RUnlock()
	pause := b.busy && !b.more
	for {
		if pause {
			b.sleep(ctx, tickTime)
		}
		if err := ctx.Err(); err != nil {
			b.countTail()
			return 0, err
		}
		if b.closed.Load() {
			return 0, b.fail(net.ErrClosed)
		}
		if n := b.read(frames); n > 0 {
			b.received.Add(uint64(n))
			return n, nil
		}
		if b.failure != nil {
			return 0, b.failure
		}
		b.countTail()
		b.busy = false
		if err := b.wait(ctx); err != nil {
			return 0, b.fail(err)
		}
		pause = time.Since(b.last) < tickTime // the next came soon: so will others
	}
}

// sleep lets frames gather, until ctx or the bus ends.
func (b *Bus) sleep(ctx context.Context, d time.Duration) {
	b.tick.Reset(d)
	select {
	case <-b.tick.C:
	case <-ctx.Done():
	case <-b.done:
	}
}

// wait blocks until frames or an error of the socket are there, ctx ends or the bus is closed.
// It may also return for no reason.
func (b *Bus) wait(ctx context.Context) error {
	if b.watched != ctx { // usually the same for the whole life of a bus
		if b.stopWake != nil {
			b.stopWake()
		}
		b.watched, b.stopWake = ctx, context.AfterFunc(ctx, b.kick)
	}
	fds := [...]unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLIN}, {Fd: int32(b.wake), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds[:], -1); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	if fds[1].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(b.wake, count[:])
	}
	return nil
}

// read takes what is there, in batches, up to where frames were dropped. Error frames are counted and left out.
func (b *Bus) read(frames []can.Frame) (n int) {
	b.more = false
	for n < len(frames) {
		more := true
		if b.batch.next == b.batch.got {
			room := min(len(frames)-n, batchSize)
			if errno := b.batch.fill(b.fd, room); errno != 0 {
				if b.note(errno) {
					continue
				}
				break
			}
			more = b.batch.got == room
		}
		n += b.unpack(frames[n:], n > 0)
		gap := b.batch.next < b.batch.got
		if b.more = more || gap; gap || !more {
			break
		}
	}
	if n > 0 {
		now := time.Now()
		b.busy = n > 1 || now.Sub(b.last) < tickTime
		b.last = now
	}
	return n
}

// unpack takes messages of the batch while there is room. With some taken before it leaves those behind a gap for the next read.
func (b *Bus) unpack(frames []can.Frame, some bool) (n int) {
	for b.batch.next < b.batch.got && n < len(frames) {
		i := b.batch.next
		if some || n > 0 {
			if _, drops, _ := b.batch.control(i); drops != 0 && int32(drops-b.seen) > 0 {
				break
			}
		}
		if b.batch.next++; b.take(i, &frames[n]) {
			n++
		}
	}
	return n
}

// note remembers what ends the bus, and says whether to read on: the kernel
// tells of the interface's end before it gives the frames that came earlier.
func (b *Bus) note(errno unix.Errno) (on bool) {
	switch errno {
	case unix.EAGAIN:
	case unix.EINTR:
		on = true
	case unix.ENETDOWN:
		on, b.failure = true, b.fail(fmt.Errorf("the interface went down: %w", errno))
	case unix.ENODEV:
		on, b.failure = true, b.fail(fmt.Errorf("the interface was removed: %w", errno))
	default:
		b.failure = b.fail(fmt.Errorf("receive: %w", errno))
	}
	return on
}

// take turns message i into f; false when it is none for the caller.
func (b *Bus) take(i int, f *can.Frame) bool {
	stamp, drops, stamped := b.batch.control(i)
	if drops != 0 {
		b.countDrops(drops)
	}
	raw := &b.batch.raw[i]
	size := b.batch.messages[i].size
	switch {
	case raw.id&unix.CAN_ERR_FLAG != 0:
		b.errors.count(raw.id, (*[can.MaxClassic]byte)(raw.data[:]))
		return false
	case size != sizeClassic && size != sizeFD:
		return false // CAN XL
	}
	if !stamped {
		stamp = time.Now().UnixMicro()
	}
	raw.frame(f, size == sizeFD)
	f.Time = stamp
	return true
}

// countDrops takes over the kernel's counter, which has 32 bits and never goes back.
func (b *Bus) countDrops(drops uint32) {
	if n := int32(drops - b.seen); n > 0 {
		b.dropped.Add(uint64(n))
		b.seen = drops
	}
}

// countTail counts the drops behind the last frame that was queued; no frame tells of them.
func (b *Bus) countTail() {
	const dropsAt, length = 8, 9 // SK_MEMINFO_DROPS and SK_MEMINFO_VARS of linux/sock_diag.h
	var info [length]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(b.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 && size > 4*dropsAt {
		b.countDrops(info[dropsAt])
	}
}

// batchSize is the number of frames of one system call.
const batchSize = 64

// batch is where recvmmsg puts frames.
type batch struct {
	raw      [batchSize]rawFrame
	controls [batchSize]control
	vectors  [batchSize]unix.Iovec
	messages [batchSize]message
	// Messages next to got−1 have not been taken.
	next, got int
}

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	size   uint32
}

// control has room for a time stamp and the drop counter, aligned for cmsghdr.
type control [8]uint64

func (m *batch) init() {
	for i := range m.messages {
		m.vectors[i].Base = (*byte)(unsafe.Pointer(&m.raw[i]))
		m.vectors[i].SetLen(sizeFD)
		m.messages[i].header.Iov = &m.vectors[i]
		m.messages[i].header.SetIovlen(1)
		m.messages[i].header.Control = (*byte)(unsafe.Pointer(&m.controls[i]))
	}
}

// fill reads at most room frames without waiting, when those of before have been taken.
func (m *batch) fill(fd, room int) unix.Errno {
	m.next, m.got = 0, 0
	for i := range m.messages[:room] {
		m.messages[i].header.SetControllen(int(unsafe.Sizeof(m.controls[i])))
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.messages)), uintptr(room), unix.MSG_DONTWAIT, 0, 0)
	runtime.KeepAlive(m)
	if errno == 0 {
		m.got = int(n)
	}
	return errno
}

// control reads what came with message i: the kernel's time in µs, and how many frames it had dropped before this one.
func (m *batch) control(i int) (stamp int64, drops uint32, stamped bool) {
	const header = uintptr(unix.SizeofCmsghdr)
	base, end := unsafe.Pointer(&m.controls[i]), uintptr(m.messages[i].header.Controllen)
	for at := uintptr(0); at+header <= end; {
		h := (*unix.Cmsghdr)(unsafe.Add(base, at))
		size := uintptr(h.Len)
		if size < header || at+size > end {
			break
		}
		body, left := unsafe.Add(base, at+header), size-header
		switch {
		case h.Level != unix.SOL_SOCKET:
		case h.Type == unix.SO_TIMESTAMPNS_NEW && left >= 16:
			t := (*[2]int64)(body)
			stamp, stamped = t[0]*1_000_000+t[1]/1000, true
		case h.Type == unix.SO_TIMESTAMPNS && left >= unsafe.Sizeof(unix.Timespec{}):
			t := (*unix.Timespec)(body)
			stamp, stamped = t.Nano()/1000, true
		case h.Type == unix.SO_RXQ_OVFL && left >= 4:
			drops = *(*uint32)(body)
		}
		at += (size + unsafe.Sizeof(uintptr(0)) - 1) &^ (unsafe.Sizeof(uintptr(0)) - 1)
	}
	return stamp, drops, stamped
}
