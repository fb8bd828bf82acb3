package buffer

import (
	"encoding/binary"
	"maps"
	"slices"
	"unique"

	"go.etcd.io/bbolt"

	"telltale.dev/protocol"
)

// Purge removes all that waits of a purpose, and gives how much that was: records, and the open batches that were
// checkpointed. They count as evicted and as purged, and their sequences become pending, as do the ranges
// that they carried. It is one commit, and takes what calls before it have committed, also those that were under way
// when it was called. After an error, or a crash before it returns, all of it is there or
// nothing, and the same call may be made again. What an eviction takes at the same time counts as evicted only. No
// record is read but those that carry ranges, and open batches.
//
// When it returns, no record of the purpose that was there is written to a connection any more, though it was read before: Send
// sees to that. What was written before cannot be called back: it is on its way, in the kernel's buffers or with the
// server. Purge waits for a write that is under way, as long as the writer's own timeout allows.
//
// The bytes of a record are gone from the disk with its segment, when nothing else in
// that waits; those of damaged files that were set aside stay. Damage to the file that has the newest accounts may
// bring back what was purged.
//
// The caller drops its own open batches of the purpose before, and does not use their IDs again.
func (b *Buffer) Purge(purpose string) (gone Waiting, err error) {
	p := &purge{purpose: unique.Make(purpose)}
	if err := b.submit(&change{flush: true, purge: p}); err != nil {
		return Waiting{}, err
	}
	b.awaitSends(p.purpose)
	return p.gone, nil
}

// purge is one call of Purge. It is a group of its own: what was queued before has been decided, what comes later stays.
type purge struct {
	purpose unique.Handle[string]
	gone    Waiting // by the last attempt
	records []purged
}

// purged is a record that is to go.
type purged struct {
	seg   *segment
	index int
}

// alone says how many of the waiting changes may be one group, because of purges.
func alone(queue []*change) int {
	for i, c := range queue {
		if c.purge != nil {
			return max(i, 1)
		}
	}
	return len(queue)
}

// hide chooses the records of a purpose, under mu. Until the commit is decided nobody can read or
// acknowledge them. It gives those that carry ranges, by segment.
func (b *Buffer) hide(g *group, p *purge) map[*segment][]int {
	p.records = nil
	carriers := map[*segment][]int{}
	for _, l := range b.byClass {
		for _, s := range l {
			if s.evicting { // condemned ones, too
				continue
			}
			s.pending(0, func(i int, it *item) bool {
				if it.purpose == p.purpose {
					p.records = append(p.records, purged{s, i})
					p.take(g, it)
					if it.carrier {
						carriers[s] = append(carriers[s], i)
					}
				}
				return true
			})
		}
	}
	for _, r := range p.records {
		r.seg.hidden = r.seg.hidden.with(r.index)
	}
	return carriers
}

// take accounts for a record or open batch that goes.
func (p *purge) take(g *group, it *item) {
	p.gone.add(it)
	g.accounts.drop(it)
	g.accounts.counts.PurgedRecords++
	g.accounts.counts.PurgedSamples += uint64(it.samples)
	g.accounts.changedPurged, g.write = true, true
}

// settle lets the chosen records go for good, or shows them again; under mu.
func (p *purge) settle(gone bool) {
	for _, r := range p.records {
		r.seg.hidden = nil
	}
	for _, r := range p.records {
		if gone {
			r.seg.ack(r.index)
		}
	}
	p.records = nil
}

func (b *Buffer) settlePurge(g *group, gone bool) {
	for _, c := range g.changes {
		if c.purge == nil {
			continue
		}
		c.purge.settle(gone)
		if gone {
			b.purgedUntilNow(c.purge.purpose)
		}
	}
}

// purge chooses what goes because of its purpose, if the group is a purge.
func (b *Buffer) purge(g *group) error {
	if len(g.changes) != 1 || g.changes[0].purge == nil {
		return nil
	}
	p := g.changes[0].purge
	p.gone = Waiting{}
	b.mu.Lock()
	b.purgeOpen(g, p)
	carriers := b.hide(g, p)
	b.mu.Unlock()
	for s, list := range carriers {
		if err := b.reclaim(g, s, list); err != nil {
			return err
		}
	}
	if p.gone.Records == 0 {
		return nil
	}
	return b.purgeVersions(g, p)
}

// purgeVersions names the states of open batches of the purpose that are outdated, but still in the file of a segment that
// is there: when a later file is damaged, the next start would take them for what is left of the open batches. It
// reads the checkpoints of those segments.
func (b *Buffer) purgeVersions(g *group, p *purge) error {
	var list []*segment
	b.mu.Lock()
	for _, l := range b.byClass {
		for _, s := range l {
			if !s.promoted && !s.evicting { // the checkpoints of a promoted one are records
				list = append(list, s)
			}
		}
	}
	b.mu.Unlock()
	named := map[purgedOpen]bool{}
	for _, c := range g.accounts.purgedOpen {
		named[c] = true
	}
	for _, s := range list {
		err := b.view(s, func(tx *bbolt.Tx) error {
			return eachChunked(tx.Bucket(bucketCheckpoints), checkpointKey, func(key []byte, chunks [][]byte) error {
				r, err := decodeHeader(chunks, position(s.id, key))
				if c := (purgedOpen{s.id, [checkpointKey]byte(key)}); err == nil && r.Purpose == p.purpose.Value() && !named[c] {
					named[c] = true
					g.accounts.purgedOpen = append(slices.Clip(g.accounts.purgedOpen), c)
				}
				return nil
			})
		})
		if err := b.unread(s, err); err != nil {
			return err
		}
	}
	return nil
}

// purgeOpen forgets the open batches of a purpose, under mu. The accounts say from then on that they count no more. A
// program of version 1 does not know that: for it their classes get new segments.
func (b *Buffer) purgeOpen(g *group, p *purge) {
	for sl, cp := range maps.Clone(g.checkpoints) {
		if cp.item.purpose != p.purpose {
			continue
		}
		delete(g.checkpoints, sl)
		p.take(g, &cp.item)
		for _, r := range cp.record.Evicted {
			g.accounts.evict(r)
		}
		g.accounts.purgedOpen = append(slices.Clip(g.accounts.purgedOpen), purgedOpen{cp.seg.id, [checkpointKey]byte(cp.key)})
		g.renewed[sl.class] = b.form == formerForm
	}
}

// renew makes a portion for each class that loses open batches and needs a new segment for that.
func (b *Buffer) renew(g *group) {
	for class, renewed := range g.renewed {
		if renewed {
			b.portion(g, protocol.Priority(class))
		}
	}
}

// purgedOpen names an open batch that was purged: its segment, and the key of its checkpoint there.
type purgedOpen struct {
	id  segmentID
	key [checkpointKey]byte
}

// forgetPurgedOpen drops mentions of segments whose files are gone, under mu. While a file is there its checkpoints may count
// again, since later files may be damaged; also one that could not be read at the start, for it may be readable at the next.
func (b *Buffer) forgetPurgedOpen(a *accounts) {
	a.purgedOpen = slices.DeleteFunc(slices.Clone(a.purgedOpen), func(c purgedOpen) bool {
		return b.byClass[c.id.class].find(c.id.number) == nil && !slices.Contains(b.unreadable, c.id)
	})
}

// appendPurged writes the totals, and then the open batches that count no more: an earlier version of this
// program stops before them.
func (a *accounts) appendPurged(body []byte) []byte {
	body = binary.AppendUvarint(binary.AppendUvarint(body, a.counts.PurgedRecords), a.counts.PurgedSamples)
	body = binary.AppendUvarint(body, uint64(len(a.purgedOpen)))
	for _, c := range a.purgedOpen {
		body = append(binary.AppendUvarint(append(body, byte(c.id.class)), c.id.number), c.key[:]...)
	}
	return body
}

// parsePurged reads what appendPurged wrote, or an earlier version.
func (a *accounts) parsePurged(body []byte) error {
	d := decoder{rest: body}
	records, samples := d.uvarint(), d.uvarint()
	var list []purgedOpen
	if !d.bad && len(d.rest) > 0 {
		for range d.count(min(maxNotes, len(d.rest))) {
			id := segmentID{class: protocol.Priority(d.byte()), number: d.uvarint()}
			list = append(list, purgedOpen{id, [checkpointKey]byte(d.bytes(checkpointKey))})
		}
	}
	if d.bad || len(d.rest) > 0 {
		return errDamaged
	}
	a.counts.PurgedRecords, a.counts.PurgedSamples, a.purgedOpen = records, samples, list
	return nil
}
