package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// write puts the parts on disk, the decisive one last.
func (b *Buffer) write(g *group) error {
	for _, p := range g.portions {
		if p.decisive {
			if err := b.syncNamed(g); err != nil {
				return err
			}
		}
		if err := b.writePortion(g, p); err != nil {
			return err
		}
	}
	if last := g.portions[len(g.portions)-1]; last.fresh {
		return b.ops.sync(b.dir)
	}
	return nil
}

// syncNamed puts the names of new files on disk.
func (b *Buffer) syncNamed(g *group) error {
	for _, p := range g.portions {
		if p.named {
			return b.ops.sync(b.dir)
		}
	}
	return nil
}

func (b *Buffer) writePortion(g *group, p *portion) (err error) {
	p.started = true
	path := filepath.Join(b.dir, p.seg.id.file())
	db := p.seg.db // a writable segment stays open, and only the holder of the turn closes it
	if p.fresh {
		if g.reserve {
			if p.seg.lent, err = b.lend(path + suffixNew); err != nil {
				return err
			}
			p.made, g.reserve = true, false
		}
		db, err = b.ops.create(path+suffixNew, 2*b.segment+overhead)
		if _, missing := os.Lstat(path + suffixNew); !errors.Is(missing, fs.ErrNotExist) {
			p.made = true
		}
		if err != nil {
			return err
		}
		p.seg.db = db
	}
	if p.seg == g.target && !p.seg.writable {
		if db, err = b.reopen(p.seg); err != nil {
			p.started = false // nothing was written: what is void of it stays so
			return err
		}
	}
	if db == nil {
		return fmt.Errorf("%s is not open", p.seg.id.file())
	}
	if p.bytes, err = writeTx(db, b.ops.commit, func(tx *bbolt.Tx) error {
		if p.empties {
			if err := p.discard(tx, g); err != nil {
				return err
			}
		}
		return p.put(tx, g.accounts.gen)
	}); err != nil {
		return err
	}
	if p.fresh {
		p.named = true
		return b.ops.rename(path+suffixNew, path)
	}
	_, err = os.Lstat(path) // somebody may have removed the file, or the folder: then nothing that is written to it is there after a restart
	return err
}

// put fills the transaction.
func (p *portion) put(tx *bbolt.Tx, gen uint64) error {
	records, err := bucket(tx, bucketRecords)
	if err != nil {
		return err
	}
	for i, r := range p.records {
		key := binary.BigEndian.AppendUint32(nil, uint32(p.from+i))
		if err := putChunks(records, key, encodeRecord(r, position(p.seg.id, key), p.form)); err != nil {
			return err
		}
	}
	if len(p.puts)+len(p.stale) > 0 {
		if err := p.putCheckpoints(tx); err != nil {
			return err
		}
	}
	now, err := bucket(tx, bucketNow)
	if err != nil {
		return err
	}
	mark := commitMark{from: p.from, decisive: p.decisive, fresh: p.fresh}
	err = now.Put(keyCommit, (&accounts{gen: gen}).seal(mark.append(nil)))
	for key, v := range p.values {
		to := now
		if key == keyEvicted && len(v) > largeAccount && p.apart {
			pending, failed := bucket(tx, bucketPending)
			if failed != nil {
				return failed
			}
			to = pending
		}
		err = errors.Join(err, to.Put([]byte(key), v))
	}
	return err
}

// largeAccount is the size, in bytes, above which the evicted ranges have pages of their own, which a commit that does not
// change them leaves alone. What is beside the commit mark is written with each commit. An earlier version of this program does
// not look for them there, so it is not done while this one is on trial.
const largeAccount = 2 << 10

// putCheckpoints writes new versions and deletes those that an earlier commit
// has replaced. The version that this commit replaces stays until the next
// one, in case this one turns out void.
func (p *portion) putCheckpoints(tx *bbolt.Tx) error {
	b, err := bucket(tx, bucketCheckpoints)
	if err != nil {
		return err
	}
	for _, key := range p.stale {
		if err := deleteChunks(b, key); err != nil {
			return err
		}
	}
	for _, cp := range p.puts {
		if err := putChunks(b, cp.key, encodeRecord(&cp.record, position(p.seg.id, cp.key), p.form)); err != nil {
			return err
		}
	}
	return nil
}
