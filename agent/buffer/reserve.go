package buffer

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

const (
	reserveFile = "RESERVE"
	maxReserve  = 128 << 10 // bytes
	minReserve  = 64 << 10
)

// reserve is room that the buffer owns beside its segments: a file whose blocks are
// allocated. When a new segment finds no room, the file is renamed and becomes that
// segment; when a segment is not needed any more and there is no reserve, that file
// becomes the reserve. So the blocks are never free in between, and nobody else can take
// them. All fields but wanted are guarded by mu, which is never held together with Buffer.mu.
type reserve struct {
	wanted int64 // bytes; set by Open
	mu     sync.Mutex
	held   int64 // bytes of the file that have blocks; 0: there is no reserve
	long   bool  // the file is longer than wanted: it is cut when its new name is on disk
	names  int   // how often a file has become the reserve
}

// reserveSize gives the size of the reserve: enough for a segment with the accounts and an
// open batch or two, and at most a sixteenth of the bound or an eighth of the device's free space.
func reserveSize(maxBytes, free int64) int64 {
	return max(minReserve, min(maxReserve, maxBytes/16, free/8))
}

// findReserve looks whether the reserve is there, and says how large it should be.
func (b *Buffer) findReserve() {
	free, known := b.ops.free(b.dir)
	if !known {
		free = b.max
	}
	b.reserve.wanted = reserveSize(b.max, free)
	if info, err := os.Lstat(b.reservePath()); err == nil && info.Mode().IsRegular() {
		b.reserve.held = solid(info)
		b.reserve.wanted = max(b.reserve.wanted, min(b.reserve.held, maxReserve))
	}
}

// openReserve makes the reserve if it is missing and there is room.
func (b *Buffer) openReserve() {
	free, known := b.ops.free(b.dir)
	if !known {
		free = b.max
	}
	b.adaptStep(free)
	if !known || free >= 2*b.reserve.wanted {
		b.keepReserve()
	}
}

// solid gives how many bytes of a file have blocks, in whole pages, if the holes are at its end.
func solid(info fs.FileInfo) int64 {
	size := info.Size()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		size = min(size, int64(st.Blocks)*512)
	}
	return size - size%pageSize
}

func (b *Buffer) reservePath() string { return filepath.Join(b.dir, reserveFile) }

// hasReserve says whether there is a reserve that can take the accounts.
func (b *Buffer) hasReserve() bool {
	b.reserve.mu.Lock()
	defer b.reserve.mu.Unlock()
	return b.reserve.held >= accountsBytes
}

// missingReserve gives the bytes by which the reserve is smaller than wanted.
func (b *Buffer) missingReserve() int64 {
	b.reserve.mu.Lock()
	defer b.reserve.mu.Unlock()
	return max(0, b.reserve.wanted-b.reserve.held)
}

// keepReserve makes the reserve when it is missing, and fills it up when it is too small.
// What it has is never given back meanwhile. Without room there is none, until there is.
func (b *Buffer) keepReserve() {
	b.reserve.mu.Lock()
	defer b.reserve.mu.Unlock()
	if b.reserve.held >= b.reserve.wanted {
		return
	}
	err := b.ops.reserve(b.reservePath(), b.reserve.held, b.reserve.wanted)
	if err == nil {
		b.reserve.held = b.reserve.wanted
		return
	}
	if b.reserve.held == 0 {
		_ = os.Remove(b.reservePath())
	}
	if !lacksRoom(err) {
		b.log.Warn("make the buffer's reserve", "error", plain(err))
	}
}

// adopt makes a file that nobody needs the reserve when it has more room than the present
// one. It says whether the file has gone from its path.
func (b *Buffer) adopt(path string) bool {
	b.reserve.mu.Lock()
	defer b.reserve.mu.Unlock()
	if b.reserve.held >= b.reserve.wanted {
		return false
	}
	info, err := os.Lstat(path)
	if err != nil || solid(info) <= b.reserve.held {
		return false
	}
	if b.ops.rename(path, b.reservePath()) != nil {
		return false
	}
	b.reserve.held, b.reserve.long = solid(info), info.Size() > b.reserve.wanted
	b.reserve.names++
	return true
}

// reserveNames gives how often a file has become the reserve.
func (b *Buffer) reserveNames() int {
	b.reserve.mu.Lock()
	defer b.reserve.mu.Unlock()
	return b.reserve.names
}

// cutReserve shortens a reserve that is longer than wanted. The file's new name must be on disk first: else a power
// cut could bring back the former segment, but cut short. So the caller asks reserveNames before it syncs the names, and
// passes the answer as names. When another file has become the reserve since then, that one is cut another time.
func (b *Buffer) cutReserve(names int) {
	b.reserve.mu.Lock()
	defer b.reserve.mu.Unlock()
	if b.reserve.names != names {
		return
	}
	if size := min(b.reserve.held, b.reserve.wanted); b.reserve.long && os.Truncate(b.reservePath(), size) == nil {
		b.reserve.held, b.reserve.long = size, false
	}
}

// lend makes the reserve the empty file of a new segment, which keeps its blocks, and gives their size in bytes.
func (b *Buffer) lend(path string) (size int64, err error) {
	b.reserve.mu.Lock()
	defer b.reserve.mu.Unlock()
	if b.reserve.held < accountsBytes {
		return 0, syscall.ENOSPC
	}
	if err := b.ops.rename(b.reservePath(), path); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // somebody has removed it
			b.reserve.held, err = 0, syscall.ENOSPC
		}
		return 0, err
	}
	// The name is on disk before the content goes: the blocks may be those of a segment whose removal a power cut would undo.
	if err = b.ops.sync(b.dir); err == nil {
		size, err = blankSegment(path, min(b.reserve.held, b.reserve.wanted))
	}
	if err != nil {
		return 0, errors.Join(err, b.ops.rename(path, b.reservePath()))
	}
	b.reserve.held, b.reserve.long = 0, false
	return size, nil
}

// writeReserve fills a file from an offset to a size with what no file system compresses or leaves out.
func writeReserve(path string, from, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(noise(size-from), from)
	return errors.Join(err, f.Sync(), f.Close())
}

func noise(size int64) []byte {
	data := make([]byte, size)
	_, _ = rand.Read(data) // it never fails
	return data
}

// blankSegment overwrites a file with an empty segment of the given size, in the blocks that it has. If
// there are fewer of them the segment gets shorter. It gives the size. Nothing of the former content stays, so that
// no search for lost records finds it.
func blankSegment(path string, size int64) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	n, err := f.WriteAt(append(emptyPages(), noise(size-emptySize)...), 0)
	if lacksRoom(err) && n >= emptySize {
		size, err = int64(n-n%pageSize), nil
	}
	return size, errors.Join(err, f.Truncate(size), f.Close())
}

// emptySize is the size of a bbolt file without buckets: two meta pages, a free list and a root page.
const emptySize = 4 * pageSize

// emptyPages gives the pages of such a file, as bbolt writes them. The file check describes the layout.
func emptyPages() []byte {
	const (
		metaFlag, freelistFlag = 4, 16
		freelistPage, rootPage = 2, 3
	)
	data := make([]byte, emptySize)
	le := binary.LittleEndian
	for page, flag := range [...]uint16{metaFlag, metaFlag, freelistFlag, boltLeaf} {
		p := data[page*pageSize:]
		le.PutUint64(p, uint64(page))
		le.PutUint16(p[8:], flag)
		if flag != metaFlag {
			continue
		}
		m := p[boltHeader:]
		le.PutUint32(m, boltMagic)
		le.PutUint32(m[4:], boltVersion)
		le.PutUint32(m[8:], pageSize)
		le.PutUint64(m[16:], rootPage)
		le.PutUint64(m[32:], freelistPage)
		le.PutUint64(m[40:], emptySize/pageSize)
		le.PutUint64(m[48:], uint64(page)) // number of the transaction
		sum := fnv.New64a()
		sum.Write(m[:56])
		le.PutUint64(m[56:], sum.Sum64())
	}
	return data
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
