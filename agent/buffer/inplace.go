package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"

	"go.etcd.io/bbolt"

	"telltale.dev/protocol"
)

// When a device has no room even for the accounts and there is no reserve, they are written
// into a segment that is there already, in pages that bbolt has free: each commit
// leaves those free that it replaced. The segment may be one that is to go. Then all that is in it
// goes in the same commit, which also declares it, and the file stays as an empty segment. So there
// is no moment in which something is gone and not declared, or the accounts are nowhere.

// keyEmptied says what a segment has lost by being emptied in place: the index of the first record
// after that, uvarint, and the keys of the checkpoints that were the current ones.
var keyEmptied = []byte("emptied")

// attemptInPlace writes the accounts into one of the segments that are the newest of their class, since those stay. It
// tries the one first that is written next, then those that are no victims, so that the victims' files can go.
func (b *Buffer) attemptInPlace(changes []*change, victims []*segment, next protocol.Priority) error {
	var targets []*segment
	b.mu.Lock()
	for _, l := range b.byClass {
		if s := l.newest(); s != nil && !s.damaged {
			targets = append(targets, s)
		}
	}
	rank := func(s *segment) int {
		switch {
		case s.id.class == next:
			return 0
		case !slices.Contains(victims, s):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(targets, func(x, y *segment) int { return rank(x) - rank(y) })
	b.mu.Unlock()
	err := error(syscall.ENOSPC)
	for _, s := range targets {
		b.mu.Lock()
		possible := slices.DeleteFunc(slices.Clone(victims), func(v *segment) bool { return v != s && b.checkpointed(v) > 0 })
		b.mu.Unlock()
		if len(victims) > 0 && len(possible) == 0 {
			continue // their open batches would need room, too
		}
		if err = b.attempt(changes, possible, place{target: s}); !lacksRoom(err) {
			if err == nil && slices.Contains(possible, s) {
				b.limit = b.max // the room is in this file: what comes next fits or not, but nothing more is evicted for it
				if len(b.stale[s]) > 0 {
					err = b.attempt([]*change{{flush: true}}, nil, place{target: s})
				}
			}
			return err
		}
	}
	return err
}

// stored gives the number of records that have a place of their own in the file.
func (s *segment) stored() int {
	if len(s.virtual) > 0 {
		return s.base
	}
	return len(s.items)
}

// reopen opens a segment for writing whose handle is for reading, or that had a commit fail. What is in
// the file is what was committed: a failed commit that is there all the same is an error, unless the segment is condemned. Then
// it is emptied now, and it is the same to it whether it was before.
func (b *Buffer) reopen(s *segment) (*file, error) {
	b.mu.Lock()
	b.recent = slices.DeleteFunc(b.recent, func(o *segment) bool { return o == s })
	closers := closeAll([]*segment{s})
	b.mu.Unlock()
	if err := closers(); err != nil {
		return nil, err
	}
	db, err := b.ops.create(filepath.Join(b.dir, s.id.file()), 2*b.segment+overhead)
	if err != nil {
		return nil, err
	}
	err = noPanic(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			now := tx.Bucket(bucketNow)
			if now == nil {
				return errDamaged
			}
			gen, _, err := unseal(now.Get(keyCommit))
			if err == nil && s.void != 0 && gen == s.void && !s.condemned {
				err = fmt.Errorf("a commit that failed is in %s: %w", s.id.file(), syscall.ENOSPC)
			}
			return err
		})
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.db = db
	return db, nil
}

// discard removes what is in a segment but for its current checkpoints. To need few pages it does not touch
// outdated ones beside those; a commit of its own deletes them.
func (p *portion) discard(tx *bbolt.Tx, g *group) error {
	var current [][]byte
	for _, cp := range g.checkpoints {
		if cp.seg == p.seg {
			current = append(current, cp.key)
		}
	}
	gone := [][]byte{bucketRecords}
	if len(current) == 0 {
		gone = append(gone, bucketCheckpoints)
	}
	for _, name := range gone {
		if err := tx.DeleteBucket(name); err != nil && tx.Bucket(name) != nil {
			return err
		}
	}
	p.outdated = nil
	if b := tx.Bucket(bucketCheckpoints); b != nil {
		err := eachChunked(b, checkpointKey, func(key []byte, _ [][]byte) error {
			if !slices.ContainsFunc(current, func(k []byte) bool { return bytes.Equal(k, key) }) {
				p.outdated = append(p.outdated, bytes.Clone(key))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	body := binary.AppendUvarint(nil, uint64(len(p.seg.items)))
	for _, key := range current {
		body = append(body, key...)
	}
	p.values[string(keyEmptied)] = g.accounts.seal(body)
	return nil
}

// empty makes the segment in memory what discard has made of the file; under Buffer.mu.
func (s *segment) empty() {
	for i := range s.items {
		s.ack(i)
	}
	s.waiting = Waiting{}
	s.base, s.virtual, s.promoted, s.void = len(s.items), nil, false, 0
	s.emptied, s.writable, s.evicting = s.bytes, true, false
	s.condemned, s.carried = false, nil
}

// condemn marks the segments that a commit has emptied, or tried to, when it failed; under mu. Nobody knows whether their
// records are on disk any more: nobody reads or acknowledges them, and the next commit gives them up and declares them, as the
// failed one would have. acquit takes that back where the file is seen to be as it was.
func (g *group) condemn() (list []*segment) {
	for _, p := range g.portions {
		if p.started && p.empties {
			p.seg.condemned, p.seg.carried = true, g.carried[p.seg]
			list = append(list, p.seg)
		}
	}
	return list
}

func (b *Buffer) acquit(list []*segment) {
	for _, s := range list {
		if !b.untouched(s) {
			b.log.Error("a segment was to be emptied for want of room, and that failed: what waits in it is given up", "file", s.id.file())
			continue
		}
		b.mu.Lock()
		s.condemned, s.carried = false, nil
		b.mu.Unlock()
	}
}

// untouched says whether the commit that failed is not in the file of a segment.
func (b *Buffer) untouched(s *segment) (yes bool) {
	db, err := openFile(filepath.Join(b.dir, s.id.file()))
	if err != nil {
		return false
	}
	err = noPanic(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			now := tx.Bucket(bucketNow)
			if now == nil {
				return errDamaged
			}
			gen, _, err := unseal(now.Get(keyCommit))
			yes = err == nil && gen != s.void
			return err
		})
	})
	return errors.Join(err, db.Close()) == nil && yes
}

// addCondemned makes the condemned segments victims of a group; under mu.
func (b *Buffer) addCondemned(g *group) {
	for _, l := range b.byClass {
		for _, s := range l {
			if s.condemned && !s.evicting {
				s.evicting = true
				g.victims = append(g.victims, s)
			}
		}
	}
}

// emptied is what keyEmptied says.
type emptied struct {
	gen   uint64
	first int      // index of the first record that may be there
	kept  [][]byte // keys of the checkpoints that were current
}

func (e *emptied) parse(v []byte) (err error) {
	var body []byte
	if e.gen, body, err = unseal(v); err != nil {
		return err
	}
	d := decoder{rest: body}
	e.first = d.count(4 * maxItems) // appended, promoted and replaced ones
	for len(d.rest) > 0 && !d.bad {
		e.kept = append(e.kept, bytes.Clone(d.bytes(checkpointKey)))
	}
	if d.bad {
		return errDamaged
	}
	return nil
}

// outdated says whether a checkpoint was replaced before the segment was emptied.
func (e *emptied) outdated(v *version) bool {
	return v.gen <= e.gen && !slices.ContainsFunc(e.kept, func(k []byte) bool { return bytes.Equal(k, v.key) })
}
