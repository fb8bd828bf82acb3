package backbone

import (
	"fmt"
	"syscall"
)

// openFree is the free space below which Open refuses to start, in bytes: JetStream's recovery writes.
const openFree = 16 << 20

// space guards the last part of the disk: JetStream refuses everything until it is
// started again after the first write that fails, so none should.
type space struct {
	path    string
	reserve int64                       // bytes
	free    func(string) (int64, error) // bytes free on the disk of a path
}

// allow refuses n more bytes with ErrFull when they would reach into part of the
// reserve: 1 of all of it, 2 of half of it.
func (s *space) allow(n int, share int64) error {
	if s.reserve < 0 {
		return nil
	}
	free, err := s.free(s.path)
	if err != nil {
		return fmt.Errorf("%w: ask for free disk space: %w", ErrFull, err)
	}
	// A batch is written twice: when it is staged, and into the stream.
	if free-2*int64(n) < s.reserve/share {
		return fmt.Errorf("%w: %s", ErrFull, lowDisk(free, s.reserve/share))
	}
	return nil
}

// margin is how much more than the reserve must be free until it counts as enough again, in
// bytes: what one commit may need, and for a small reserve a part of it.
func (s *space) margin() int64 { return min(2*batchBytes, s.reserve/4) }

// freeBytes is what an ordinary user may still write on the disk of path.
func freeBytes(path string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err != nil {
		return 0, err
	}
	return int64(uint64(fs.Bavail) * uint64(fs.Bsize)), nil
}
