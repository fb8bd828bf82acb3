package backbone

import (
	"fmt"
	"syscall"
)

// openFree is the free space below which Open refuses to start, in bytes: JetStream's recovery writes.
const openFree = 16 << 20

// space guards the last part of the disk: JetStream refuses everything for good
// after the first write that fails, so none may.
type space struct {
	path    string
	reserve int64 // bytes
}

// allow refuses n more bytes with ErrFull when they would reach into part of the
// reserve: 1 of all of it, 2 of half of it.
func (s *space) allow(n int, part int64) error {
	if s.reserve < 0 {
		return nil
	}
	free, err := freeBytes(s.path)
	if err != nil {
		return fmt.Errorf("ask for free disk space: %w: %w", err, ErrFull)
	}
	// A batch is written twice: when it is staged, and into the stream.
	if free-2*int64(n) < s.reserve/part {
		return fmt.Errorf("%w: the disk has %d MiB left, %d MiB are kept free", ErrFull, free>>20, s.reserve/part>>20)
	}
	return nil
}

// freeBytes is what an ordinary user may still write on the disk of path.
func freeBytes(path string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err != nil {
		return 0, err
	}
	return int64(uint64(fs.Bavail) * uint64(fs.Bsize)), nil
}
