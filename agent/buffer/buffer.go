package buffer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unique"

	"telltale.dev/protocol"
)

// Sizes. A commit takes the appends that wait, up to groupBytes and
// groupRecords or one append, whichever is more.
const (
	DefaultMaxBytes = 256 << 20
	MinMaxBytes     = 1 << 20
	minSegment      = 64 << 10
	maxSegmentBytes = 256 << 20
	maxDefault      = 4 << 20  // of SegmentBytes
	MaxAppend       = 32 << 20 // payload bytes of one Append: twice the largest open batches of as many rules as there may be
	MaxRecords      = maxItems
	MaxOpen         = maxItems // checkpoints whose record has not been appended
	groupBytes      = 1 << 20
	groupRecords    = 1024
	maxOpen         = 4 // sealed segments kept open for reading
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("buffer: closed")

// Config says where and how much to keep.
type Config struct {
	// Dir is the directory, made when missing. It must be on a real file system.
	Dir string
	// MaxBytes bounds the segment files of all classes together; 0 means
	// DefaultMaxBytes, less than MinMaxBytes is refused. The segments being
	// written may pass it by what one commit writes; the reserve of at most
	// 128 KiB comes on top. On a device with less room the device is the bound.
	MaxBytes int64
	// ClassBytes bounds the segment files of each class, so that a flood of one does not take the room of
	// all: when a class has more, its own oldest segments go. 0 means MaxBytes. What one commit writes is stored in any case.
	ClassBytes [protocol.Priorities + 1]int64
	// SegmentBytes is the size at which a segment is closed, and so the step in
	// which space is evicted and returned; 0 means MaxBytes/16, at most 4 MiB.
	SegmentBytes int64
	// OnTrial says that this program has not proved itself yet: a directory of the former version stays one, and
	// a new one is made so, that the program before it can go on with it. The first start without it makes
	// the directory one of this version.
	OnTrial bool
	// Log gets warnings about damaged files; nil means none.
	Log *slog.Logger
}

// Buffer is an open directory. All methods may be called from any goroutine.
type Buffer struct {
	dir      string
	max      int64
	class    [protocol.Priorities + 1]int64 // bounds of the classes, bytes
	segment  int64
	log      *slog.Logger
	ops      fileOps
	lock     *os.File
	turn     chan struct{} // held by the one who commits; capacity 1
	appended chan struct{}

	// Owned by the holder of turn.
	stale       map[*segment][][]byte // checkpoint keys to be deleted with the segment's next commit
	limit       int64                 // of the segments during a shortage, bytes; otherwise max
	step        int64                 // at which segments are closed, bytes: SegmentBytes, or less on a small device
	reserve     reserve
	unversioned bool // there was no room for the version file yet
	form        byte // in which records are written
	onTrial     bool
	short       shortage
	now         func() time.Time

	mu          sync.Mutex // guards what follows and every segment; never held while writing or waiting
	closed      bool
	queue       []*change
	byClass     [protocol.Priorities + 1]segmentList
	accounts    accounts
	checkpoints map[subject]*checkpoint
	losses      []item   // found damaged, not yet in the accounts
	expired     []expiry // forgotten by Expire, not yet in the accounts
	tombs       []tomb
	purged      map[unique.Handle[string]]positions // by purpose: what was purged since Open
	sends       map[*sending]struct{}
	unreadable  []segmentID // files that Open could not read and that were not set aside
	recent      []*segment  // sealed and open for reading, the latest last
	touched     uint64      // counts changes of the accounts outside commits
	saved       uint64      // value of touched that is on disk
	stats       Stats
}

// checkpoint is the open batch of a subject, in memory until its record is appended.
type checkpoint struct {
	subject subject
	record  Record // of its own memory
	item    item
	seg     *segment // that holds it
	key     []byte
}

// tomb is a segment whose file is to go, or has gone but may come back with a power cut.
type tomb struct {
	seg     *segment
	held    bool // to be kept until the next commit is on disk
	removed bool // unlinked
	synced  bool // and the directory is on disk, so it will not come back
}

// change is one call that changes the buffer: it appends, stores checkpoints, flushes or purges.
type change struct {
	appends, checkpoints []Record
	progress             Progress
	records, bytes       int
	flush                bool
	purge                *purge
	done                 bool // set by the one who committed it, before err is read
	err                  error
}

// Open opens or makes a directory, recovers what is there and turns surviving
// checkpoints into records. Damaged segments are set aside and counted. The
// error wraps ErrLocked, ErrVersion or ErrFull, or comes from the file system.
func Open(c Config) (*Buffer, error) { return open(c, realOps()) }

func open(c Config, ops fileOps) (*Buffer, error) {
	b, err := newBuffer(c, ops)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, plain(err)
	}
	if err := ops.sync(filepath.Dir(b.dir)); err != nil { // the directory's own name
		return nil, plain(err)
	}
	if b.lock, err = lockDir(b.dir, false); err != nil {
		return nil, err
	}
	err = b.takeVersion()
	if err == nil {
		b.findReserve()
		err = b.recover()
	}
	if err == nil {
		b.openReserve()
	}
	if err != nil {
		_ = b.lock.Close()
		return nil, err
	}
	return b, nil
}

func newBuffer(c Config, ops fileOps) (*Buffer, error) {
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = min(c.MaxBytes/16, maxDefault)
	}
	if c.MaxBytes < MinMaxBytes {
		return nil, fmt.Errorf("buffer: max bytes: expected at least %d, got %d", MinMaxBytes, c.MaxBytes)
	}
	if c.SegmentBytes < minSegment || c.SegmentBytes > min(c.MaxBytes/4, maxSegmentBytes) {
		return nil, fmt.Errorf("buffer: segment bytes: expected %d to a quarter of max bytes and at most %d, got %d", minSegment, maxSegmentBytes, c.SegmentBytes)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for class := protocol.CS0; class <= protocol.CS6; class++ {
		if c.ClassBytes[class] < 0 {
			return nil, fmt.Errorf("buffer: class bytes: expected 0 or more for %s, got %d", class, c.ClassBytes[class])
		}
		if c.ClassBytes[class] == 0 {
			c.ClassBytes[class] = c.MaxBytes
		}
	}
	return &Buffer{
		class: c.ClassBytes, dir: c.Dir, max: c.MaxBytes, segment: c.SegmentBytes, log: c.Log, ops: ops,
		limit: c.MaxBytes, step: c.SegmentBytes, now: time.Now, form: recordForm, onTrial: c.OnTrial,
		turn: make(chan struct{}, 1), appended: make(chan struct{}, 1),
		stale: map[*segment][][]byte{}, checkpoints: map[subject]*checkpoint{},
		purged: map[unique.Handle[string]]positions{}, sends: map[*sending]struct{}{},
	}, nil
}

// Append stores records and the account p, all or none of them; they are on
// disk when it returns. Calls that wait at the same time share a commit.
// recs and their payloads are read until it returns. It replaces the
// checkpoint with the ID of a record.
//
// After an error nothing of it is visible. The error wraps ErrRecord for a
// record that cannot be stored, ErrFull when the device has no room and nothing
// that may go would help (the same call may succeed later), ErrClosed, or comes from the file system;
// a crash before the next successful commit may bring such an append back
// as a whole.
func (b *Buffer) Append(recs []Record, p Progress) error { return b.Commit(recs, nil, p) }

// Checkpoint stores the open batch so far, which replaces the earlier one of
// its class, topic, schema and ID. It is not read until its record is appended
// under the same ID, or until a crash: then Open makes a record of it. So the
// ID of a checkpoint must not be given up: its record has to follow some day.
// MaxOpen batches may be open at once; what goes beyond is an ErrRecord.
func (b *Buffer) Checkpoint(rec Record, p Progress) error {
	return b.Commit(nil, []Record{rec}, p)
}

// Commit is Append and several Checkpoint calls in one, all or nothing, for
// an account that covers several open batches.
func (b *Buffer) Commit(appends, checkpoints []Record, p Progress) error {
	c := &change{appends: appends, checkpoints: checkpoints, progress: p}
	for _, list := range [...][]Record{appends, checkpoints} {
		for i := range list {
			if err := list[i].Check(); err != nil {
				return err
			}
			c.bytes += len(list[i].Payload)
			c.records++
		}
	}
	if len(p.Seen) > maxBuses {
		return bad("progress", "expected at most %d buses, got %d", maxBuses, len(p.Seen))
	}
	if c.bytes > MaxAppend || c.records > MaxRecords {
		return bad("append", "expected at most %d bytes in %d records, got %d in %d", MaxAppend, MaxRecords, c.bytes, c.records)
	}
	if open := b.openBatches(checkpoints); open > MaxOpen {
		return bad("checkpoint", "expected at most %d open batches, got %d", MaxOpen, open)
	}
	if err := b.submit(c); err != nil {
		return err
	}
	if len(appends) > 0 {
		b.notify()
	}
	return nil
}

// SealOpen makes a record of the open batch with an ID, as it was checkpointed last, for a caller that cannot go on with it. It
// does nothing when there is no such batch. Errors are those of Append.
func (b *Buffer) SealOpen(id protocol.MessageID) error {
	var r *Record
	b.mu.Lock()
	for _, cp := range b.checkpoints {
		if cp.item.id == id {
			r = &cp.record
		}
	}
	b.mu.Unlock()
	if r == nil {
		return nil
	}
	return b.Append([]Record{*r}, Progress{})
}

// openBatches gives how many batches are open when more checkpoints are stored.
func (b *Buffer) openBatches(more []Record) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.checkpoints)
	for i := range more {
		if b.checkpoints[subjectOf(&more[i])] == nil {
			n++
		}
	}
	return n
}

// Flush puts acknowledgements on disk now. Without it they go with the next append, or with Close.
func (b *Buffer) Flush() error { return b.submit(&change{flush: true}) }

// submit queues c and waits until somebody has committed it, maybe itself.
func (b *Buffer) submit(c *change) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	b.queue = append(b.queue, c)
	b.mu.Unlock()

	b.turn <- struct{}{}
	for !c.done {
		b.commit(b.take())
	}
	<-b.turn
	return c.err
}

// take removes the next group from the queue.
func (b *Buffer) take() []*change {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, bytes, records, most := 0, 0, 0, alone(b.queue)
	for n < most && (n == 0 || bytes < groupBytes && records < groupRecords) {
		bytes, records = bytes+b.queue[n].bytes, records+b.queue[n].records
		n++
	}
	group := b.queue[:n:n]
	b.queue = b.queue[n:]
	return group
}

func (b *Buffer) notify() {
	select {
	case b.appended <- struct{}{}:
	default:
	}
}

// Appended receives after appends; several appends may give one receive.
func (b *Buffer) Appended() <-chan struct{} { return b.appended }

// Close puts acknowledgements on disk and releases the directory. Calls that
// wait are finished; later ones get ErrClosed.
func (b *Buffer) Close() error {
	err := b.Flush()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	b.mu.Lock()
	waiting := b.queue
	again := b.closed
	b.closed, b.queue = true, nil
	var open []*segment
	for _, l := range b.byClass {
		open = append(open, l...)
	}
	closers := closeAll(open)
	b.mu.Unlock()
	for _, c := range waiting {
		c.done, c.err = true, ErrClosed
	}
	if again {
		return nil
	}
	return errors.Join(err, closers(), b.lock.Close())
}

// closeAll takes the handles of segments; to be called under mu. The result closes them, without it.
func closeAll(list []*segment) func() error {
	var errs []error
	var handles []func() error
	for _, s := range list {
		if s.db != nil {
			handles = append(handles, s.db.Close)
			s.db = nil
		}
	}
	return func() error {
		for _, h := range handles {
			errs = append(errs, noPanic(h))
		}
		return errors.Join(errs...)
	}
}
