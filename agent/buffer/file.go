package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"telltale.dev/hal/durable"
)

// pageSize of all segments, whatever the machine's is: files move between machines.
const pageSize = 4096

// openTimeout bounds waiting for bbolt's own file lock, which another handle
// of ours may hold for the moment of its closing.
const openTimeout = 5 * time.Second

var (
	bucketRecords     = []byte("records")
	bucketCheckpoints = []byte("checkpoints")
	bucketNow         = []byte("now")
	bucketPending     = []byte("pending")
	keyCommit         = []byte("commit")
)

// ErrFull is wrapped by errors of writes for which the device had no room.
var ErrFull = errors.New("disk full")

// fileOps are the operations that can fail in the middle; tests make them.
type fileOps struct {
	create  func(path string, expected int64) (*file, error)
	commit  func(*bbolt.Tx) error
	rename  func(from, to string) error
	remove  func(path string) error
	sync    func(dir string) error
	reserve func(path string, from, size int64) error
	free    func(dir string) (bytes int64, known bool)
}

func realOps() fileOps {
	return fileOps{
		create: createFile, commit: (*bbolt.Tx).Commit, rename: os.Rename, remove: os.Remove,
		sync: durable.SyncFolder, reserve: writeReserve, free: freeSpace,
	}
}

// file is an open segment file.
type file struct {
	*bbolt.DB
	descriptor *os.File
	broken     bool // a write transaction panicked: bbolt's own locks may be held for ever. Owned by the holder of Buffer.turn
}

// Close closes the file. Of a broken one bbolt's Close would wait for ever, so only the descriptor and the lock
// on the file go; its map stays until the process ends.
func (f *file) Close() error {
	if f.broken {
		return f.letGo()
	}
	return f.DB.Close()
}

// letGo unlocks and closes the descriptor. Closing alone does not unlock: the map holds the file, too.
func (f *file) letGo() error {
	return errors.Join(syscall.Flock(int(f.descriptor.Fd()), syscall.LOCK_UN), f.descriptor.Close())
}

// openFile opens an existing segment for reading.
func openFile(path string) (*file, error) {
	return openBolt(path, 0, &bbolt.Options{Timeout: openTimeout, ReadOnly: true, NoStatistics: true})
}

// createFile makes a segment. The map is made as large as the segment will
// get, so that growing never has to wait for readers.
func createFile(path string, expected int64) (*file, error) {
	return openBolt(path, 0o600, &bbolt.Options{
		Timeout: openTimeout, NoFreelistSync: true, PageSize: pageSize, InitialMmapSize: int(expected), NoStatistics: true,
	})
}

func openBolt(path string, mode os.FileMode, o *bbolt.Options) (*file, error) {
	f := &file{}
	o.OpenFile = func(name string, flag int, mode os.FileMode) (d *os.File, err error) {
		d, err = os.OpenFile(name, flag, mode)
		f.descriptor = d
		return d, err
	}
	err := noPanic(func() (err error) {
		f.DB, err = bbolt.Open(path, mode, o)
		return err
	})
	if err == nil {
		return f, nil
	}
	if errors.Is(err, errDamaged) && f.descriptor != nil { // it panicked, and has closed nothing
		_ = f.letGo()
	}
	return nil, err
}

// noPanic turns a panic of bbolt over a file that is not what it was, and a
// fault in its memory map, into an error.
func noPanic(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// writeTx runs f in a write transaction and commits it with commit. It gives the bytes used in the file.
// After a panic, as when a page of the file cannot be read, the file is broken.
func writeTx(db *file, commit func(*bbolt.Tx) error, f func(*bbolt.Tx) error) (size int64, err error) {
	db.broken = true
	err = noPanic(func() error {
		size, err = runTx(db, commit, f)
		db.broken = false
		return err
	})
	return size, err
}

func runTx(db *file, commit func(*bbolt.Tx) error, f func(*bbolt.Tx) error) (size int64, err error) {
	tx, err := db.Begin(true)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // of no effect after a commit
	if err := f(tx); err != nil {
		return 0, err
	}
	if err := commit(tx); err != nil {
		return 0, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	return size, err
}

// bucket gives a bucket to append to, made when missing.
func bucket(tx *bbolt.Tx, name []byte) (*bbolt.Bucket, error) {
	b, err := tx.CreateBucketIfNotExists(name)
	if err != nil {
		return nil, err
	}
	b.FillPercent = 1
	return b, nil
}

func chunkKey(prefix []byte, chunk int) []byte {
	return binary.BigEndian.AppendUint16(bytes.Clone(prefix), uint16(chunk))
}

func putChunks(b *bbolt.Bucket, prefix []byte, chunks [][]byte) error {
	for i, c := range chunks {
		if err := b.Put(chunkKey(prefix, i), c); err != nil {
			return err
		}
	}
	return nil
}

func deleteChunks(b *bbolt.Bucket, prefix []byte) error {
	c := b.Cursor()
	var keys [][]byte
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// getChunks appends the chunks under prefix to dst. They are valid during the transaction.
func getChunks(tx *bbolt.Tx, name, prefix []byte, dst [][]byte) ([][]byte, error) {
	b := tx.Bucket(name)
	if b == nil {
		return dst, fmt.Errorf("bucket %s is missing: %w", name, errDamaged)
	}
	c, n := b.Cursor(), 0
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(k) == len(prefix)+2; k, v = c.Next() {
		if int(binary.BigEndian.Uint16(k[len(prefix):])) != n {
			return dst, errDamaged
		}
		dst, n = append(dst, v), n+1
	}
	return dst, nil
}

// plain takes the directories out of an error of the file system, and says
// clearly when the device has no room.
func plain(err error) error {
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	full := isFull(err)
	if err = durable.Plain(err); full {
		return fmt.Errorf("buffer: %w: %w", ErrFull, err)
	}
	return fmt.Errorf("buffer: %w", err)
}

// isFull tells errors that go away when there is room again.
func isFull(err error) bool { return lacksRoom(err) || isOneOf(err, syscall.EFBIG) }
