package buffer

import (
	"errors"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
)

// DefaultRead is the number of records that Read gives when asked for none.
const DefaultRead = 64

// errGone says that a segment was acknowledged or evicted meanwhile.
var errGone = errors.New("segment is gone")

// Classes gives the classes with unacknowledged records, the highest first.
func (b *Buffer) Classes() []protocol.Priority {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []protocol.Priority
	for class := protocol.CS6; class >= protocol.CS0; class-- {
		if slices.ContainsFunc(b.byClass[class], func(s *segment) bool { return s.waiting.Records > 0 }) {
			list = append(list, class)
		}
	}
	return list
}

// End gives the position of the newest record of the class, acknowledged or
// not; the zero Segment when there is none.
func (b *Buffer) End(class protocol.Priority) Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !valid(class) {
		return Position{Class: class}
	}
	for _, s := range slices.Backward(b.byClass[class]) {
		if n := len(s.items); n > 0 {
			return Position{Class: class, Segment: s.id.number, Index: uint32(n - 1)}
		}
	}
	return Position{Class: class}
}

func valid(class protocol.Priority) bool { return class >= protocol.CS0 && class <= protocol.CS6 }

// pick is the records to be read from one segment.
type pick struct {
	seg   *segment
	index []int
}

// Read gives unacknowledged records of the class after a position, oldest
// first: at most maxRecords (DefaultRead when not positive) with at most
// maxBytes of payload (no bound when not positive), but at least one when
// there is one. Payloads are the reader's. Appends go on meanwhile.
func (b *Buffer) Read(after Position, class protocol.Priority, maxRecords, maxBytes int) ([]Entry, error) {
	if maxRecords <= 0 {
		maxRecords = DefaultRead
	}
	for valid(class) {
		picks, err := b.pick(after, class, maxRecords, maxBytes)
		if err != nil || len(picks) == 0 {
			return nil, err
		}
		var entries []Entry
		for _, p := range picks {
			if entries, err = b.readPick(p, entries); err != nil {
				return entries, err
			}
		}
		if len(entries) > 0 {
			return entries, nil
		}
		// All of them have gone or are damaged, and are not chosen again.
	}
	return nil, nil
}

func (b *Buffer) pick(after Position, class protocol.Priority, maxRecords, maxBytes int) ([]pick, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	var picks []pick
	bytes, full := 0, false
	for _, s := range b.byClass[class] {
		from := 0
		if s.id.number < after.Segment || s.evicting || s.condemned || !s.rests.IsZero() && b.now().Before(s.rests) {
			continue
		}
		if s.id.number == after.Segment {
			from = int(after.Index) + 1
		}
		p := pick{seg: s}
		s.pending(from, func(i int, it *item) bool {
			bytes += int(it.payload)
			if full = maxRecords == 0 || maxBytes > 0 && bytes > maxBytes && bytes > int(it.payload); full {
				return false
			}
			maxRecords--
			p.index = append(p.index, i)
			return true
		})
		if len(p.index) > 0 {
			picks = append(picks, p)
		}
		if full {
			break
		}
	}
	return picks, nil
}

// readPick appends the records of p that are still there and intact.
func (b *Buffer) readPick(p pick, entries []Entry) ([]Entry, error) {
	had := len(entries)
	var lost []int
	err := b.view(p.seg, func(tx *bbolt.Tx) error {
		entries, lost = entries[:had], lost[:0]
		var chunks [][]byte
		for _, i := range p.index {
			r, err := b.readRecord(tx, p.seg, i, &chunks)
			if err != nil {
				lost = append(lost, i)
				continue
			}
			pos := Position{Class: p.seg.id.class, Segment: p.seg.id.number, Index: uint32(i)}
			entries = append(entries, Entry{Position: pos, Record: r})
		}
		return nil
	})
	switch {
	case errors.Is(err, errGone):
		return entries[:had], nil
	case errors.Is(err, errDamaged):
		entries, lost, err = entries[:had], p.index, nil
	case errors.Is(err, ErrClosed) || lacking(err):
		return entries[:had], plain(err)
	case err != nil:
		b.rest(p.seg, err)
		return entries[:had], nil
	}
	if len(lost) > 0 {
		b.lose(p.seg, lost)
	}
	return entries, nil
}

// unreadableFor is how long a segment is not read again that the device could not read.
const unreadableFor = time.Minute

// rest lets readers pass over a segment for a while, so that it does not hold up what is stored behind it. What is in it waits:
// later it may be readable again.
func (b *Buffer) rest(s *segment, err error) {
	b.mu.Lock()
	s.rests = b.now().Add(unreadableFor)
	b.mu.Unlock()
	b.log.Error("buffer segment cannot be read; others go on", "file", s.id.file(), "again_in", unreadableFor, "error", plain(err))
}

// readRecord reads record i of s. Where a committed record is stored never changes, so mu is not needed.
func (b *Buffer) readRecord(tx *bbolt.Tx, s *segment, i int, chunks *[][]byte) (Record, error) {
	bucket, prefix := s.key(i)
	list, err := getChunks(tx, bucket, prefix, (*chunks)[:0])
	if err != nil {
		return Record{}, err
	}
	*chunks = list
	return decodeRecord(list, position(s.id, prefix))
}

// lose counts records that turned out damaged, and declares them like evicted ones.
func (b *Buffer) lose(s *segment, index []int) {
	b.mu.Lock()
	n := b.loseItems(s, index)
	b.mu.Unlock()
	if n > 0 {
		b.log.Warn("damaged records in buffer segment", "file", s.id.file(), "records", n)
	}
}

// loseItems does the work of lose, under mu. The accounts learn it with the next commit. Records that an
// eviction or a purge accounts for at this moment are not lost as well; if it fails, a reader finds them again.
func (b *Buffer) loseItems(s *segment, index []int) (n int) {
	if s.evicting || s.condemned {
		return 0
	}
	for _, i := range index {
		if s.ack(i) {
			b.losses = append(b.losses, s.items[i])
			s.damaged = true
			n++
		}
	}
	if n > 0 {
		b.touched++
	}
	return n
}

// Ack says that the record at pos is safe in the cloud. Positions may come in
// any order, again, or of records that are gone. Nothing is written: the
// acknowledgement is on disk with the next commit, Flush or Close; until
// then a crash brings the record back. A segment that has no other records
// is unlinked; the newest of its class only when the device has no room.
func (b *Buffer) Ack(pos Position) {
	if !valid(pos.Class) {
		return
	}
	b.mu.Lock()
	s := b.byClass[pos.Class].find(pos.Segment)
	if b.closed || s == nil || s.evicting || s.condemned || !s.ack(int(pos.Index)) {
		b.mu.Unlock()
		return
	}
	b.touched++
	b.stats.Acked++
	retired := s.waiting.Records == 0 && b.retire(pos.Class)
	b.mu.Unlock()
	if retired {
		b.sweep()
	}
}

// retire moves segments without waiting records, but never the newest, from
// the segments of its class to the tombs; under mu. It says whether there is something to sweep.
func (b *Buffer) retire(class protocol.Priority) bool {
	l := b.byClass[class]
	newest := l.newest()
	done := func(s *segment) bool { return s != newest && s.waiting.Records == 0 && s.unsaved == 0 && !s.evicting }
	before := len(b.tombs)
	for _, s := range l {
		if done(s) {
			b.tombs = append(b.tombs, tomb{seg: s})
		}
	}
	if len(b.tombs) == before {
		return false
	}
	b.byClass[class] = slices.DeleteFunc(l, done)
	return true
}

// sweep closes and unlinks the files of tombs. What fails is tried again after the next commit.
func (b *Buffer) sweep() {
	b.mu.Lock()
	var list []*segment
	for _, t := range b.tombs {
		if !t.removed && !t.held {
			list = append(list, t.seg)
		}
	}
	b.recent = slices.DeleteFunc(b.recent, func(s *segment) bool { return slices.Contains(list, s) })
	surplus := max(0, len(b.recent)-maxOpen)
	closers := closeAll(append(b.recent[:surplus:surplus], list...))
	b.recent = b.recent[surplus:]
	b.mu.Unlock()
	if err := closers(); err != nil {
		b.log.Warn("close buffer segment", "error", plain(err))
	}
	aside := false
	for _, s := range list {
		if err := b.unlink(s); err != nil {
			b.log.Warn("remove buffer segment", "file", s.id.file(), "error", plain(err))
			continue
		}
		b.mu.Lock()
		for i := range b.tombs {
			b.tombs[i].removed = b.tombs[i].removed || b.tombs[i].seg == s
		}
		if s.damaged {
			b.stats.SetAside++
			aside = true
		}
		b.mu.Unlock()
	}
	if !aside {
		return
	}
	if names, err := durable.Match(b.dir, "*"+suffixCorrupt); err == nil {
		for i, path := range names {
			names[i] = filepath.Base(path)
		}
		b.prune(names)
	}
}

// view runs f in a read transaction of the segment.
func (b *Buffer) view(s *segment, f func(*bbolt.Tx) error) error {
	for {
		db, err := b.handle(s)
		if err != nil {
			return err
		}
		err = noPanic(func() error { return db.View(f) })
		if !errors.Is(err, berrors.ErrDatabaseNotOpen) {
			return err
		}
		// It was closed between the two calls: sealed, gone, or pushed out by others.
	}
}

// handle gives the open file of a segment, opening it when needed.
func (b *Buffer) handle(s *segment) (*file, error) {
	if db, err := b.opened(s); db != nil || err != nil {
		return db, err
	}
	db, err := openFile(filepath.Join(b.dir, s.id.file()))
	if err != nil {
		if db, gone := b.opened(s); db != nil || gone != nil { // it is open for writing again, or gone
			return db, gone
		}
		return nil, err
	}
	b.mu.Lock()
	out := []*segment{{db: db}}
	switch {
	case b.byClass[s.id.class].find(s.id.number) != s || b.closed:
		err = errGone
	case s.db != nil: // another reader was faster
		db = s.db
	default:
		s.db, out = db, nil
		b.recent = append(b.recent, s)
		if len(b.recent) > maxOpen {
			out, b.recent = b.recent[:1:1], b.recent[1:]
		}
	}
	closers := closeAll(out)
	b.mu.Unlock()
	return db, errors.Join(err, closers())
}

func (b *Buffer) opened(s *segment) (*file, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	if b.byClass[s.id.class].find(s.id.number) != s {
		return nil, errGone
	}
	return s.db, nil
}
