package buffer

import (
	"slices"
	"unique"

	"telltale.dev/protocol"
)

// Stats is a snapshot. Counts are since the directory was made, the other
// totals since Open.
type Stats struct {
	Counts
	Waiting            Waiting
	Classes            [protocol.Priorities + 1]Waiting // by class
	Segments           int                              // files in use
	DiskBytes          int64                            // used in them
	Checkpoints        int                              // open batches
	Appended           uint64                           // records
	AppendedBytes      uint64                           // of payload
	CheckpointsWritten uint64
	Acked              uint64
	Expired            uint64 // records; contained in EvictedRecords
	Undeclared         uint64 // ranges of dropped sequences that found no room until they could be declared
	Commits            uint64
	CommitErrors       uint64
	Shortages          uint64 // times that the device had no room
	Damaged            int    // segments in use with damage; set aside when their records are gone
	SetAside           uint64 // corrupt files: found at Open and made since
}

// Stats gives the counters.
func (b *Buffer) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := b.stats
	a := b.account()
	st.Counts, st.Undeclared = a.counts, a.undeclared
	st.Checkpoints = len(b.checkpoints)
	for class, l := range b.byClass {
		for _, s := range l {
			st.Classes[class].plus(s.waiting)
			st.Segments++
			if s.damaged {
				st.Damaged++
			}
			st.DiskBytes += s.bytes
		}
		st.Waiting.plus(st.Classes[class])
	}
	return st
}

// account gives the accounts with what the next commit will add to them; under mu.
func (b *Buffer) account() accounts {
	a := b.accounts
	for i := range b.losses {
		a.lose(&b.losses[i])
	}
	for i := range b.expired {
		a.expire(&b.expired[i])
	}
	a.gather()
	return a
}

// Schemas gives the schemas of all records that wait and of the open batches. Whoever reads those records needs them.
func (b *Buffer) Schemas() map[protocol.SchemaHash]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	used := map[unique.Handle[protocol.SchemaHash]]bool{}
	for _, l := range b.byClass {
		for _, s := range l {
			s.pending(0, func(_ int, it *item) bool {
				used[it.schema] = true
				return true
			})
		}
	}
	for _, cp := range b.checkpoints {
		used[cp.item.schema] = true
	}
	none, list := unique.Make(protocol.SchemaHash{}), make(map[protocol.SchemaHash]bool, len(used))
	for h := range used {
		if h != none && h != (unique.Handle[protocol.SchemaHash]{}) { // damaged records have none
			list[h.Value()] = true
		}
	}
	return list
}

// Boots gives the last account of each boot, the newest last; at most MaxBoots.
func (b *Buffer) Boots() []Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accounts.all()
}

// PendingEvicted gives the sequences that were dropped or lost and that no
// committed record declares yet. Appending a record with Evicted set takes
// its ranges away; when that record is evicted itself they come back.
func (b *Buffer) PendingEvicted() []protocol.SeqRange {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.account().evicted)
}
