package buffer

import (
	"errors"
	"io/fs"
	mathbits "math/bits"
	"path/filepath"

	"go.etcd.io/bbolt"

	"telltale.dev/protocol"
)

// overhead is what a commit writes into a file beyond its records, at most, roughly.
const overhead = 64 << 10

// makeRoom chooses what to evict so that the group fits; under mu. Segments
// of the lowest class go first, the oldest first. Incoming records count as
// the newest of their class: when everything stored is of higher classes,
// they are dropped themselves. It says whether the group will fit.
func (b *Buffer) makeRoom(g *group) bool {
	for class := range b.byClass {
		b.boundClass(g, protocol.Priority(class))
	}
	total, bound := g.incoming.sum(), min(b.max, b.limit)
	for _, l := range b.byClass {
		for _, s := range l {
			if !s.evicting {
				total += s.bytes
			}
		}
	}
	for class := 1; class < len(b.byClass) && total > bound; class++ {
		for _, s := range b.byClass[class] {
			if total > bound && !s.evicting {
				s.evicting = true
				g.victims = append(g.victims, s)
				total -= s.bytes
			}
		}
		if total > bound && g.incoming[class] > 0 && b.above(class) {
			g.dropped[class] = true
			total -= g.incoming.of(class)
		}
	}
	return total <= bound
}

// boundClass chooses the oldest segments of a class that has more than its bound; under mu.
func (b *Buffer) boundClass(g *group, class protocol.Priority) {
	total := g.incoming.of(int(class))
	for _, s := range b.byClass[class] {
		if !s.evicting {
			total += s.bytes
		}
	}
	for _, s := range b.byClass[class] {
		if total > b.class[class] && !s.evicting {
			s.evicting = true
			g.victims = append(g.victims, s)
			total -= s.bytes
		}
	}
}

// above says whether anything is stored in higher classes.
func (b *Buffer) above(class int) bool {
	for _, l := range b.byClass[class+1:] {
		if len(l) > 0 {
			return true
		}
	}
	return false
}

// sizeOnDisk estimates the bytes of a record in its file.
func sizeOnDisk(payload int) int64 { return int64(payload)*8/7 + chunkBytes }

// evict accounts for the victims' waiting records: their sequences become
// pending, and so do those that they carried for others.
func (b *Buffer) evict(g *group) error {
	for _, s := range g.victims {
		var carriers []int
		b.mu.Lock()
		s.pending(0, func(i int, it *item) bool {
			g.accounts.drop(it)
			if it.carrier {
				carriers = append(carriers, i)
			}
			return true
		})
		b.mu.Unlock()
		if s.condemned {
			g.carry(s, s.carried)
			continue
		}
		if err := b.reclaim(g, s, carriers); err != nil {
			return err
		}
	}
	return nil
}

// reclaim brings back the ranges that evicted records were carrying.
func (b *Buffer) reclaim(g *group, s *segment, carriers []int) error {
	if len(carriers) == 0 {
		return nil
	}
	err := b.view(s, func(tx *bbolt.Tx) error {
		var chunks [][]byte
		for _, i := range carriers {
			bucket, prefix := s.key(i)
			var err error
			if chunks, err = getChunks(tx, bucket, prefix, chunks[:0]); err != nil {
				continue
			}
			r, err := decodeHeader(chunks, position(s.id, prefix))
			if err != nil {
				continue // damaged meanwhile: what it carried is lost with it
			}
			g.carry(s, r.Evicted)
		}
		return nil
	})
	return b.unread(s, err)
}

// unread judges an error of reading a segment that is to be given up, or of which something is: one that says nothing about the
// file is for the caller, who may try again later. When the file is damaged, or the device cannot read it any more, what
// stands in it is lost; nobody waits for it.
func (b *Buffer) unread(s *segment, err error) error {
	switch {
	case err == nil || errors.Is(err, errGone):
		return nil
	case errors.Is(err, ErrClosed) || lacking(err):
		return err
	}
	b.log.Warn("buffer segment not readable: what its records declared is lost with them", "file", s.id.file(), "error", plain(err))
	b.mu.Lock()
	s.damaged = true
	b.mu.Unlock()
	return nil
}

// carry makes ranges pending again that a segment's records would have declared.
func (g *group) carry(s *segment, list []protocol.SeqRange) {
	for _, e := range list {
		g.accounts.evict(e)
	}
	if len(list) > 0 {
		g.carried[s] = append(g.carried[s], list...)
	}
}

// sayUndeclared logs that ranges found no room until they could be declared: rarely, however many there are; under mu.
func (b *Buffer) sayUndeclared(now uint64) {
	if mathbits.Len64(now) > mathbits.Len64(b.accounts.undeclared) {
		b.log.Warn("more was given up than can be declared: the cloud sees the oldest of it as missing", "ranges", now)
	}
}

// drop accounts for a record that makes room.
func (a *accounts) drop(it *item) {
	a.declare(it)
	a.counts.EvictedRecords++
	a.counts.EvictedSamples += uint64(it.samples)
	a.counts.EvictedBytes += uint64(it.payload)
}

// lose accounts for a record that is damaged.
func (a *accounts) lose(it *item) {
	a.declare(it)
	a.counts.LostRecords++
	a.counts.LostSamples += uint64(it.samples)
}

// declare makes the record's sequence a pending one.
func (a *accounts) declare(it *item) {
	if it.id.Seq != 0 {
		a.evict(protocol.SeqRange{Boot: it.id.Boot, From: it.id.Seq, To: it.id.Seq})
	}
}

// unlink removes the file of a segment that nobody needs, or makes it the reserve, or sets it aside when it is damaged.
func (b *Buffer) unlink(s *segment) error {
	path := filepath.Join(b.dir, s.id.file())
	if s.damaged {
		return b.ops.rename(path, path+suffixCorrupt)
	}
	for _, name := range [...]string{path + suffixNew, path} {
		if b.adopt(name) {
			continue
		}
		if err := b.ops.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
