package buffer

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"telltale.dev/protocol"
)

// group is one commit in the making.
type group struct {
	changes     []*change
	write       bool     // there is something to say even without records
	accounts    accounts // as they will be
	checkpoints map[subject]*checkpoint
	portions    []*portion // one per class, in the order of writing; the last one is decisive
	victims     []*segment
	carried     map[*segment][]protocol.SeqRange // what the records of victims would have declared
	relief      bool                             // it declares victims and stores no records
	place                                        // where it may be written
	incoming    claim                            // of the changes
	dropped     [protocol.Priorities + 1]bool    // classes whose incoming records find no room
	renewed     [protocol.Priorities + 1]bool    // classes that get a new segment, since open batches are purged
	losses      int                              // of Buffer.losses, contained in accounts
	expired     int                              // of Buffer.expired, likewise
	touched     uint64
}

// portion is what a group writes into one segment.
type portion struct {
	class    protocol.Priority
	seg      *segment
	fresh    bool // the segment is made by this commit
	started  bool // something may have been written
	made     bool // there may be a file
	named    bool // the file has its final name
	from     int  // index of the first record
	records  []*Record
	items    []item
	puts     []*checkpoint
	stale    [][]byte // keys of checkpoint versions to delete
	outdated [][]byte // likewise, with the next commit of the segment
	values   map[string][]byte
	decisive bool
	empties  bool // all that was in the segment goes, but for open batches
	bytes    int64
	form     byte // in which records are written
	apart    bool // a large account has pages of its own
}

// prepare decides what is written where and what has to go: the given victims, or what the bound asks for.
func (b *Buffer) prepare(changes []*change, victims []*segment, where place) (*group, error) {
	g := &group{
		changes: changes, relief: len(victims) > 0, incoming: demand(changes), place: where, carried: map[*segment][]protocol.SeqRange{},
	}
	b.bury()
	b.mu.Lock()
	b.begin(g)
	for _, s := range victims {
		if b.byClass[s.id.class].find(s.id.number) == s { // else it has been acknowledged meanwhile
			s.evicting = true
			g.victims = append(g.victims, s)
		}
	}
	b.addCondemned(g)
	if !g.relief && g.target == nil {
		b.makeRoom(g)
	}
	b.mu.Unlock()
	if err := b.evict(g); err != nil {
		return g, err
	}
	if err := b.purge(g); err != nil {
		return g, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range changes {
		b.assign(g, c)
	}
	return g, b.settle(g)
}

// bury puts the removal of files on disk, so that they need no more mention.
func (b *Buffer) bury() {
	var removed []int
	b.mu.Lock()
	for i, t := range b.tombs {
		if t.removed && !t.synced {
			removed = append(removed, i)
		}
	}
	b.mu.Unlock()
	names := b.reserveNames()
	if len(removed) == 0 || b.ops.sync(b.dir) != nil {
		return
	}
	b.mu.Lock()
	for _, i := range removed { // tombs are only deleted by the holder of the turn, so the places are the same
		b.tombs[i].synced = true
	}
	b.mu.Unlock()
	b.cutReserve(names)
}

// begin starts the next generation, under mu.
func (b *Buffer) begin(g *group) {
	g.accounts = b.accounts
	g.accounts.gen++
	g.accounts.room = pendingRoom(b.step)
	g.checkpoints = maps.Clone(b.checkpoints)
	for i := range b.losses {
		g.accounts.lose(&b.losses[i])
	}
	g.losses = len(b.losses)
	b.addExpired(g)
	b.forgetPurgedOpen(&g.accounts)
	g.write = b.touched != b.saved
	for _, c := range g.changes {
		g.write = g.write || !c.flush
		g.accounts.advance(c.progress)
	}
}

// assign gives the records of c to the portions of their classes, under mu.
func (b *Buffer) assign(g *group, c *change) {
	for i := range c.appends {
		r := &c.appends[i]
		it := itemOf(r, len(r.Payload))
		if open := g.supersede(r.ID); g.dropped[r.Priority] && !open { // the room of its checkpoint is taken anyway
			g.accounts.drop(&it)
			continue
		}
		g.accounts.carried(r.Evicted)
		p := b.portion(g, r.Priority)
		p.records = append(p.records, r)
		p.items = append(p.items, it)
	}
	for i := range c.checkpoints {
		r := &c.checkpoints[i]
		cp := &checkpoint{subject: subjectOf(r), item: itemOf(r, len(r.Payload)), record: own(r)}
		g.checkpoints[cp.subject] = cp
		p := b.portion(g, r.Priority)
		p.puts = slices.DeleteFunc(p.puts, func(o *checkpoint) bool { return o.subject == cp.subject })
		p.puts = append(p.puts, cp)
	}
}

// supersede forgets the checkpoint of a record that is appended; false when there was none.
func (g *group) supersede(id protocol.MessageID) (found bool) {
	for sl, cp := range g.checkpoints {
		if id.Seq == 0 || cp.item.id != id {
			continue
		}
		delete(g.checkpoints, sl)
		found = true
		for _, p := range g.portions {
			p.puts = slices.DeleteFunc(p.puts, func(o *checkpoint) bool { return o == cp })
		}
	}
	return found
}

// own gives a copy of a record that shares no memory with the caller's.
func own(r *Record) Record {
	o := *r
	o.Payload, o.Evicted = bytes.Clone(r.Payload), slices.Clone(r.Evicted)
	o.Seal = Seal{Nonce: bytes.Clone(r.Seal.Nonce), Tag: bytes.Clone(r.Seal.Tag)}
	return o
}

// portion gives the group's portion in a class, making it on first use; under mu.
func (b *Buffer) portion(g *group, class protocol.Priority) *portion {
	for _, p := range g.portions {
		if p.class == class {
			return p
		}
	}
	p := &portion{class: class, seg: b.byClass[class].newest(), form: b.form, apart: !b.onTrial}
	g.portions = append(g.portions, p)
	if p.seg != nil && p.seg == g.target {
		p.from, p.stale = p.seg.stored(), b.stale[p.seg]
		if slices.Contains(g.victims, p.seg) {
			p.from, p.empties, p.stale = len(p.seg.items), true, nil
		}
		return p
	}
	if s := p.seg; s != nil && s.writable && !g.renewed[class] && !s.evicting && s.bytes-s.emptied < b.step && len(s.items) < maxItems {
		p.from, p.stale = len(s.items), b.stale[s]
		return p
	}
	p.fresh = true
	g.accounts.next[class]++
	p.seg = &segment{id: segmentID{class: class, number: g.accounts.next[class]}, writable: true}
	return p
}

// settle completes the portions: a place for the accounts when there is
// something to say, checkpoints that move to a new segment, and the accounts
// themselves; under mu.
func (b *Buffer) settle(g *group) error {
	b.rescue(g)
	b.renew(g)
	if g.target != nil {
		b.portion(g, g.target.id.class)
	}
	if len(g.portions) == 0 && (g.write || len(g.victims) > 0) {
		b.portion(g, b.home(g))
	}
	if len(g.portions) == 0 {
		return nil
	}
	slices.SortFunc(g.portions, func(x, y *portion) int { return int(x.class) - int(y.class) })
	last := g.portions[len(g.portions)-1]
	last.decisive = true
	for _, p := range g.portions {
		if p.fresh {
			p.inherit(g)
		}
		for n, cp := range p.puts {
			cp.key = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, g.accounts.gen), uint16(n))
		}
	}
	g.end()
	b.addExpired(g) // also those since begin: notes says that they are acknowledged
	notes := b.notes(g)
	for _, p := range g.portions {
		if p.decisive || p.fresh {
			p.values = g.accounts.encode(notes, p.fresh || len(g.victims) > 0)
		}
	}
	g.touched = b.touched
	return nil
}

// end notes where the segments will end.
func (g *group) end() {
	for _, p := range g.portions {
		g.accounts.ends[p.class] = end{number: p.seg.id.number, records: uint64(p.from + len(p.items))}
	}
}

// inherit takes the class's other checkpoints over into a new segment.
func (p *portion) inherit(g *group) {
	for _, cp := range g.checkpoints {
		if cp.subject.class == p.class && !slices.Contains(p.puts, cp) {
			own := *cp // the old one stays valid when this commit fails
			g.checkpoints[cp.subject] = &own
			p.puts = append(p.puts, &own)
		}
	}
}

// rescue makes a portion for each class that loses the segment holding its checkpoints.
func (b *Buffer) rescue(g *group) {
	for _, s := range g.victims {
		if b.byClass[s.id.class].newest() != s || s == g.target {
			continue
		}
		for sl := range g.checkpoints {
			if sl.class == s.id.class {
				b.portion(g, s.id.class)
				break
			}
		}
	}
}

// home is the class that takes the accounts when no record comes along:
// one with an open segment if there is one, so that no new file is needed.
func (b *Buffer) home(g *group) protocol.Priority {
	home := protocol.CS1
	for class := protocol.CS6; class >= protocol.CS0; class-- {
		s := b.byClass[class].newest()
		if s == nil {
			continue
		}
		home = class
		if s.writable && !s.evicting {
			return class
		}
	}
	if g.relief {
		if g.class != 0 {
			return g.class
		}
		return g.lightest()
	}
	return home
}

// lightest is the class in which a new segment is smallest: the one with the fewest bytes of open batches.
func (g *group) lightest() protocol.Priority {
	var open [protocol.Priorities + 1]int64
	for sl, cp := range g.checkpoints {
		open[sl.class] += sizeOnDisk(int(cp.item.payload))
	}
	best := protocol.CS1
	for class := protocol.CS0; class <= protocol.CS6; class++ {
		if open[class] < open[best] {
			best = class
		}
	}
	return best
}

// notes says what is to be known about segments with this commit, under mu.
func (b *Buffer) notes(g *group) []note {
	var notes []note
	for _, l := range b.byClass {
		for _, s := range l {
			n := s.note()
			n.gone = s.evicting && s != g.target
			n.promoted = n.promoted && !(s.evicting && s == g.target)
			if !n.trivial() {
				notes = append(notes, n)
			}
		}
	}
	for _, t := range b.tombs {
		if !t.synced {
			notes = append(notes, note{id: t.seg.id, void: t.seg.void, gone: true})
		}
	}
	return notes
}

// publish makes a commit that is on disk visible.
func (b *Buffer) publish(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(g.portions) == 0 {
		b.settlePurge(g, true)
		return
	}
	g.accounts.changedBoots, g.accounts.changedEvicted, g.accounts.changedPurged = false, false, false
	b.sayUndeclared(g.accounts.undeclared)
	b.accounts = g.accounts
	b.losses = b.losses[g.losses:]
	b.settleExpired(g.expired)
	b.tombs = slices.DeleteFunc(b.tombs, func(t tomb) bool { return t.synced })
	for i := range b.tombs {
		b.tombs[i].held = false
	}
	b.saved = g.touched
	b.stats.Commits++
	for _, p := range g.portions {
		b.publishPortion(p)
	}
	b.replaceCheckpoints(g)
	b.settlePurge(g, true)
	for _, s := range g.victims {
		if s == g.target {
			continue
		}
		b.byClass[s.id.class] = slices.DeleteFunc(b.byClass[s.id.class], func(o *segment) bool { return o == s })
		b.tombs = append(b.tombs, tomb{seg: s})
		delete(b.stale, s)
	}
	for class := range b.byClass {
		b.retire(protocol.Priority(class))
	}
}

func (b *Buffer) publishPortion(p *portion) {
	s := p.seg
	if p.fresh {
		if old := b.byClass[p.class].newest(); old != nil {
			b.seal(old)
		}
		b.byClass[p.class] = append(b.byClass[p.class], s)
	}
	s.bytes = p.bytes
	if p.empties {
		s.empty()
	}
	s.extend(p.items)
	for i := range p.items {
		b.stats.Appended++
		b.stats.AppendedBytes += uint64(p.items[i].payload)
	}
	b.stale[s] = p.outdated
	for _, cp := range p.puts {
		cp.seg = s
	}
	b.stats.CheckpointsWritten += uint64(len(p.puts))
}

// seal ends writing to a segment. Its handle serves readers until others push it out.
func (b *Buffer) seal(s *segment) {
	if s.writable {
		s.writable = false
		b.recent = append(b.recent, s)
	}
	delete(b.stale, s)
}

// replaceCheckpoints makes the group's checkpoints the current ones; versions
// that are not current any more are deleted with the next commit of their segment.
func (b *Buffer) replaceCheckpoints(g *group) {
	for sl, old := range b.checkpoints {
		if g.checkpoints[sl] != old && old.seg.writable {
			b.stale[old.seg] = append(b.stale[old.seg], old.key)
		}
	}
	b.checkpoints = g.checkpoints
}

// doubtful says whether the commit that failed may be on disk as a whole. Then
// all of it has to stay there until the next commit makes it void.
func (g *group) doubtful() bool {
	last := g.portions[len(g.portions)-1]
	return last.started && (last.named || !last.fresh)
}

// abandon takes back a commit that went wrong. Nobody knows whether it is on
// disk, so its segments are never written again, and the next commit says
// that what they hold of this generation is void.
func (b *Buffer) abandon(g *group) {
	b.mu.Lock()
	b.stats.CommitErrors++
	b.accounts.gen = g.accounts.gen
	b.accounts.next = g.accounts.next
	b.accounts.changedBoots, b.accounts.changedEvicted, b.accounts.changedPurged = true, true, true
	b.touched++
	for _, s := range g.victims {
		s.evicting = false
	}
	b.settlePurge(g, false)
	var doubtful []*segment
	for _, p := range g.portions {
		if !p.started {
			continue
		}
		p.seg.void = g.accounts.gen
		doubtful = append(doubtful, p.seg)
		if p.fresh && p.made {
			b.tombs = append(b.tombs, tomb{seg: p.seg, held: g.doubtful()})
		} else if !p.fresh {
			p.seg.writable = false
			delete(b.stale, p.seg)
		}
	}
	condemned := g.condemn()
	closers := closeAll(doubtful)
	b.mu.Unlock()
	if err := closers(); err != nil {
		b.log.Warn("close buffer segment", "error", plain(err))
	}
	b.acquit(condemned)
}
