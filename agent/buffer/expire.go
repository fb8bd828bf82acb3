package buffer

import (
	"go.etcd.io/bbolt"

	"telltale.dev/protocol"
)

// expiry is a record that was forgotten, because its time was over or nobody may have it any more.
type expiry struct {
	seg     *segment
	item    item
	carried []protocol.SeqRange // what it would have declared
}

// Expire forgets the record at pos, whose TTL is over: it counts as evicted,
// and its sequence becomes pending, as do the ranges that it carried. That is
// on disk with the next commit, Flush or Close, and its segment stays until
// then; after a crash before, the record is back. Of a record that is
// acknowledged or gone nothing more is said.
func (b *Buffer) Expire(pos Position) {
	if !valid(pos.Class) {
		return
	}
	i := int(pos.Index)
	b.mu.Lock()
	s := b.byClass[pos.Class].find(pos.Segment)
	if b.closed || s == nil || s.evicting || s.condemned || i >= len(s.items) || s.acked.has(i) {
		b.mu.Unlock()
		return
	}
	e := expiry{seg: s, item: s.items[i]}
	b.mu.Unlock()
	if e.item.carrier {
		e.carried = b.carriedBy(s, i)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || s.evicting || s.condemned || b.byClass[pos.Class].find(pos.Segment) != s || !s.ack(i) {
		return // meanwhile somebody else accounted for it
	}
	s.unsaved++
	b.expired = append(b.expired, e)
	b.touched++
	b.stats.Expired++
}

// carriedBy reads the ranges that a record declares. Those of a damaged record are lost with it.
func (b *Buffer) carriedBy(s *segment, i int) (ranges []protocol.SeqRange) {
	err := b.view(s, func(tx *bbolt.Tx) error {
		bucket, prefix := s.key(i)
		chunks, err := getChunks(tx, bucket, prefix, nil)
		if err != nil {
			return err
		}
		r, err := decodeHeader(chunks, position(s.id, prefix))
		ranges = r.Evicted
		return err
	})
	if err != nil {
		b.log.Warn("expired record not readable", "file", s.id.file(), "error", plain(err))
	}
	return ranges
}

// expire accounts for an expired record.
func (a *accounts) expire(e *expiry) {
	a.drop(&e.item)
	for _, r := range e.carried {
		a.evict(r)
	}
}

// addExpired puts expired records that g does not have yet into its accounts, under mu.
func (b *Buffer) addExpired(g *group) {
	for i := range b.expired[g.expired:] {
		g.accounts.expire(&b.expired[g.expired+i])
	}
	g.expired = len(b.expired)
}

// settleExpired forgets the first n expired records, which a commit has accounted for; under mu.
func (b *Buffer) settleExpired(n int) {
	for i := range b.expired[:n] {
		b.expired[i].seg.unsaved--
	}
	b.expired = b.expired[n:]
}
