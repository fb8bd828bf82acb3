package buffer

import (
	"maps"
	"unique"

	"telltale.dev/protocol"
)

// Purge removes all that waits of a purpose: records, and the open batches that were checkpointed. They count as
// evicted and as purged, and their sequences become pending, as do the ranges that they
// carried. It is on disk when Purge returns without an error, in one commit: a crash before that leaves all of it or none. After an error some
// may be hidden but not yet gone; call it again. No record is read but those that carry ranges. The bytes of a
// record are gone from the disk with its segment, when nothing else in that waits.
//
// The caller drops its own open batches of the purpose before, and does not use their IDs again.
func (b *Buffer) Purge(purpose string) error {
	p := unique.Make(purpose)
	type found struct {
		seg   *segment
		index int
	}
	var list []found
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	for _, l := range b.lanes {
		for _, s := range l {
			s.pending(0, func(i int, it *item) bool {
				if it.purpose == p {
					list = append(list, found{s, i})
				}
				return true
			})
		}
	}
	b.mu.Unlock()
	for _, f := range list {
		b.expire(Position{Class: f.seg.id.class, Segment: f.seg.id.number, Index: uint32(f.index)}, true)
	}
	return b.submit(&change{flush: true, purge: &p})
}

// purge forgets the open batches of a purpose, under mu. Their classes get new segments: the
// checkpoints of a segment that is not the newest of its class count no more.
func (g *group) purge(p unique.Handle[string]) {
	for sl, cp := range maps.Clone(g.checkpoints) {
		if cp.item.purpose != p {
			continue
		}
		delete(g.checkpoints, sl)
		g.accounts.drop(&cp.item)
		g.accounts.purge(&cp.item)
		for _, r := range cp.record.Evicted {
			g.accounts.evict(r)
		}
		g.renewed[sl.class], g.write = true, true
	}
}

// purge counts a record that was dropped because of its purpose.
func (a *accounts) purge(it *item) {
	a.counts.PurgedRecords++
	a.counts.PurgedSamples += uint64(it.samples)
	a.changedPurged = true
}

// renew makes a part for each class that loses open batches.
func (b *Buffer) renew(g *group) {
	for class, renewed := range g.renewed {
		if renewed {
			b.part(g, protocol.Priority(class))
		}
	}
}
