package buffer

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	reserveFile = "RESERVE"
	maxReserve  = 128 << 10 // bytes
	minReserve  = 64 << 10
)

// reserveSize gives the size of the reserve: enough for a segment with the accounts and an
// open batch or two, and at most a sixteenth of the bound or an eighth of the device's free space.
func reserveSize(maxBytes, free int64) int64 {
	return max(minReserve, min(maxReserve, maxBytes/16, free/8))
}

// openReserve looks whether the reserve is there, and makes it if there is room.
func (b *Buffer) openReserve() {
	free, known := b.ops.free(b.dir)
	if !known {
		free = b.max
	}
	b.reserve = reserveSize(b.max, free)
	b.adaptStep(free)
	info, err := os.Lstat(b.reservePath())
	if err == nil && info.Mode().IsRegular() && info.Size() >= minReserve && blocks(info) >= info.Size() {
		b.reserve, b.reserved = info.Size(), true
		return
	}
	if !known || free >= 2*b.reserve {
		b.keepReserve()
	}
}

// blocks gives what a file really occupies, in bytes.
func blocks(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return info.Size()
}

func (b *Buffer) reservePath() string { return filepath.Join(b.dir, reserveFile) }

// keepReserve makes the reserve when it is missing. Without room there is none, until there is.
func (b *Buffer) keepReserve() {
	if b.reserved {
		return
	}
	err := b.ops.reserve(b.reservePath(), b.reserve)
	if b.reserved = err == nil; !b.reserved {
		_ = os.Remove(b.reservePath())
		if !lacksRoom(err) {
			b.log.Warn("make the buffer's reserve", "error", plain(err))
		}
	}
}

func (b *Buffer) giveUpReserve() {
	b.reserved = false
	if err := b.ops.remove(b.reservePath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("give up the buffer's reserve", "error", plain(err))
	}
}

// writeReserve fills a file with what no file system compresses or leaves out.
func writeReserve(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	data := make([]byte, size)
	_, _ = rand.Read(data) // it never fails
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// freeSpace gives the bytes that the device has left for this process.
func freeSpace(dir string) (free int64, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	left := int64(st.Bavail)
	if os.Geteuid() == 0 {
		left = int64(st.Bfree) // root may use what is kept back from others
	}
	return left * int64(st.Bsize), true
}
