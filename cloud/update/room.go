package update

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"telltale.dev/protocol/firmware"
)

const (
	// maxUploads is how many uploads are under way at once; a further one is refused. Whoever hands over the
	// reader cuts off one that is too slow.
	maxUploads = 4
	// reserve is what all uploads together leave free on the disk for everything else, in bytes.
	reserve = 256 << 20
)

// room is the space on disk that uploads under way have announced and not written yet.
type room struct {
	mu    sync.Mutex // guards bytes
	bytes int64
}

// share is the part of a room that is one upload's. Owned by the goroutine of the upload.
type share struct {
	room *room
	left int64
}

// announce reserves the space of a whole file, before anything of its payload is read. The error wraps ErrNoSpace
// when that, what other uploads still have to write and the reserve are more than is free.
func (u *Updates) announce(h *firmware.Header) (*share, error) {
	size, err := h.FileSize()
	if err != nil {
		return nil, err
	}
	u.coming.mu.Lock()
	defer u.coming.mu.Unlock()
	free, err := u.cfg.Free(u.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("free space: %w", err)
	}
	if needed := size + u.coming.bytes + reserve; free < needed {
		return nil, fmt.Errorf("%d bytes are free, expected at least %d: %w", free, needed, ErrNoSpace)
	}
	u.coming.bytes += size
	return &share{room: &u.coming, left: size}, nil
}

// Write is told what was written, which is then no longer to come.
func (s *share) Write(p []byte) (int, error) {
	s.give(min(s.left, int64(len(p))))
	return len(p), nil
}

// release gives the rest back.
func (s *share) release() { s.give(s.left) }

func (s *share) give(n int64) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.left -= n
	s.room.bytes -= n
}

// freeBytes is what an ordinary user may still write on the disk of dir.
func freeBytes(dir string) (int64, error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return 0, err
	}
	return int64(disk.Bavail) * int64(disk.Bsize), nil
}
