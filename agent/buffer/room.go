package buffer

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
)

// Making room on a device that has none. The package comment says in which order.
const (
	// maxRelief is how often one commit makes room: once by what the file
	// system says it has free, and once as if it had nothing.
	maxRelief = 2
	// accountsBytes is what a new segment takes that holds little but the accounts, roughly.
	accountsBytes = 32 << 10
	// Waits between evictions that do not help, or help others only.
	minPatience = time.Minute
	maxPatience = time.Hour
)

// shortage is what is known about a device without room; owned by the holder of turn.
type shortage struct {
	on       bool
	held     int64 // bytes of segments when it began
	evicted  bool  // the commit or the MakeRoom that runs has evicted records that waited
	waited   bool  // it has put off the next eviction
	patience time.Duration
	until    time.Time // no eviction before
}

// lacksRoom tells errors that go away when something on the device is deleted:
// ENOSPC and EDQUOT. bbolt reports a failed growth as text only. EFBIG is
// another matter (the limit is per file, and a new segment is smaller), and
// so is all else: no eviction mends a worn-out device.
func lacksRoom(err error) bool { return isOneOf(err, syscall.ENOSPC, syscall.EDQUOT) }

func isOneOf(err error, list ...syscall.Errno) bool {
	for _, e := range list {
		if errors.Is(err, e) || err != nil && strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}

// commit makes a group of the changes, writes it and tells their callers. When
// the device has no room it makes some and tries again. It is called with the turn.
func (b *Buffer) commit(changes []*change) {
	err := b.attempt(changes, nil, anywhere)
	b.short.evicted, b.short.waited = false, false
	relieved := false
	for try := 0; try < maxRelief && lacksRoom(err); try++ {
		b.declareShortage(err)
		relieved = true
		if demand(changes).none() {
			err = b.squeeze(changes)
			break
		}
		where, ok := b.relieve(demand(changes), try > 0)
		if !ok {
			break
		}
		err = b.attempt(changes, nil, where)
	}
	b.limit = b.max
	switch {
	case lacksRoom(err) && b.short.evicted:
		b.wait("room that the buffer gave up did not help it: something else fills the disk")
	case err == nil && !relieved:
		b.endShortage()
	}
	for _, c := range changes {
		c.done, c.err = true, plain(err)
	}
}

// place says where a commit may be written: in the newest segments, and in new ones.
type place struct {
	reserve bool              // the first new segment takes the room of the reserve
	class   protocol.Priority // the class of that segment if there are only accounts to be written; 0: any
	target  *segment          // if not nil, the accounts alone are written, in the pages that this segment has free
}

var anywhere, intoReserve = place{}, place{reserve: true}

// attempt makes one try: of the changes, or of the accounts alone when there are victims to declare.
func (b *Buffer) attempt(changes []*change, victims []*segment, where place) error {
	if err := b.completeVersion(); err != nil {
		return err
	}
	g, err := b.prepare(changes, victims, where)
	if err == nil && len(g.portions) > 0 {
		err = b.write(g)
	}
	if err != nil {
		b.abandon(g)
	} else {
		b.publish(g)
	}
	b.sweep()
	return err
}

func (b *Buffer) declareShortage(err error) {
	if b.short.on {
		return
	}
	b.short.on, b.short.held = true, b.used()
	b.mu.Lock()
	b.stats.Shortages++
	b.mu.Unlock()
	b.log.Warn("the disk has no room for the buffer: what is acknowledged goes first, then the lowest class, the oldest first", "error", plain(err))
}

// endShortage looks whether there is room again, after a commit that needed no relief.
func (b *Buffer) endShortage() {
	lacks := b.missingReserve() > 0
	if !b.short.on && !lacks {
		return
	}
	free, known := b.ops.free(b.dir)
	if known && free >= b.reserve.wanted+2*b.step && lacks {
		b.keepReserve()
	}
	if b.short.on && (!known || free >= b.reserve.wanted+2*b.step) {
		b.short = shortage{}
		b.log.Info("the disk has room for the buffer again")
	}
}

// wait puts off the next eviction, each time for longer; once in a commit or a MakeRoom.
func (b *Buffer) wait(why string) {
	if b.short.waited {
		return
	}
	b.short.waited = true
	b.short.patience = min(max(2*b.short.patience, minPatience), maxPatience)
	b.short.until = b.now().Add(b.short.patience)
	b.log.Error(why, "no_eviction_for", b.short.patience)
}

// MakeRoom gives up what Append would for so many bytes of the class, for a small
// file of somebody else that found no room on the same device. It says whether
// writing that file again makes sense.
func (b *Buffer) MakeRoom(class protocol.Priority, bytes int) bool {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed || !valid(class) {
		return false
	}
	var d claim
	d[class] = int64(max(bytes, 1))
	b.short.evicted, b.short.waited = false, false
	b.declareShortage(syscall.ENOSPC)
	where, made := b.relieve(d, true)
	b.limit = b.max
	return made && !where.reserve
}

// relieve makes room for what is incoming. It says whether trying it again makes
// sense, and where. With distrust, the free space that the file system claims counts as none.
func (b *Buffer) relieve(incoming claim, distrust bool) (where place, again bool) {
	spared := b.removeSpare()
	free, known := b.ops.free(b.dir)
	if distrust || !known {
		free = 0
	}
	b.adaptStep(free)
	free -= b.missingReserve()
	b.limit = b.used() + free // makeRoom drops what does not fit even then
	if incoming.sum() <= free && !distrust {
		return anywhere, true
	}
	if !distrust && b.hasReserve() && b.replaces(incoming) {
		b.limit = b.max // it fits or not, but nothing is evicted for it
		return intoReserve, true
	}
	v := b.choose(incoming)
	if len(v.segments) == 0 && b.hasReserve() {
		if !v.little {
			b.limit = b.max // it fits or not, but nothing is evicted for it
		}
		return intoReserve, true
	}
	if len(v.segments) == 0 {
		return anywhere, spared
	}
	return anywhere, b.release(v, incoming) || spared
}

// release lets the chosen segments go, and fills the reserve up from what became free.
func (b *Buffer) release(v choice, incoming claim) bool {
	little := v.waiting && b.used()-sizeOf(v.segments) < b.short.held/2
	if !b.yield(v.segments, incoming.most()) {
		return false
	}
	b.short.evicted = b.short.evicted || v.waiting
	if little {
		b.wait("something else grows and fills the disk: the buffer gives up no more of what waits, for a while")
	}
	b.bury()
	if free, known := b.ops.free(b.dir); !known || free >= b.reserve.wanted+incoming.sum() {
		b.keepReserve()
	}
	return true
}

// squeeze writes accounts for which nothing may be given up but the reserve.
func (b *Buffer) squeeze(changes []*change) error {
	err := b.attemptInPlace(changes, nil, 0)
	if lacksRoom(err) && b.hasReserve() {
		err = b.attempt(changes, nil, intoReserve)
	}
	return err
}

// replaces says whether a new segment for the incoming takes the place of one that nobody
// needs then: that one becomes the reserve at once, so the reserve may go for it. When nothing
// waits at all the reserve may go, too.
func (b *Buffer) replaces(incoming claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	waits := false
	for class, l := range b.byClass {
		for i, s := range l {
			waits = waits || s.waiting.Records > 0
			if i == len(l)-1 && incoming[class] > 0 && s.waiting.Records == 0 && !s.damaged {
				return true
			}
		}
	}
	return !waits
}

// choice is what has to go on a device without room.
type choice struct {
	segments []*segment
	waiting  bool // there are unacknowledged records among it
	little   bool // nothing stored has to go for the incoming
}

// choose picks what has to go so that the incoming fits: all that is acknowledged, and
// if that is not enough, what makeRoom would take. When not even that is enough, or
// evictions have to wait, it is the former alone.
func (b *Buffer) choose(incoming claim) (c choice) {
	worth := int64(4 * pageSize) // bytes that a segment must have to go, if the accounts need no new one
	if b.hasReserve() {
		worth = accountsBytes
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	g := &group{incoming: incoming}
	for _, l := range b.byClass {
		for _, s := range l {
			if s.condemned || s.waiting.Records == 0 && s.size()-b.checkpointed(s) > worth {
				s.evicting = true
				g.victims = append(g.victims, s)
			}
		}
	}
	acked := len(g.victims)
	fits := b.makeRoom(g)
	c.segments, c.little = g.victims[:acked], fits && len(g.victims) == acked
	if fits && !incoming.none() && !b.now().Before(b.short.until) {
		c.segments = g.victims
	}
	for _, s := range g.victims {
		s.evicting = false // until prepare
	}
	for _, s := range c.segments {
		c.waiting = c.waiting || s.waiting.Records > 0
	}
	return c
}

// checkpointed gives the bytes of current checkpoints in a segment, which would have to move; under mu.
func (b *Buffer) checkpointed(s *segment) (size int64) {
	for _, cp := range b.checkpoints {
		if cp.seg == s {
			size += sizeOnDisk(int(cp.item.payload))
		}
	}
	return size
}

// yield declares the victims in a commit of their own and unlinks them. That
// commit needs some room itself: it gets the reserve when there is no other, and
// without a reserve the pages that a segment has free. The reserve becomes a segment of the class
// that is written next, if the open batches of that class fit in. If that fails too, one victim is
// unlinked first, and what was in it is on disk as evicted only with the commit that follows at once.
func (b *Buffer) yield(victims []*segment, next protocol.Priority) bool {
	err := b.attempt(nil, victims, anywhere)
	for _, class := range [...]protocol.Priority{next, 0} {
		if lacksRoom(err) && b.hasReserve() {
			err = b.attempt(nil, victims, place{reserve: true, class: class})
		}
	}
	if lacksRoom(err) {
		err = b.attemptInPlace(nil, victims, next)
	}
	if lacksRoom(err) {
		if s := b.expendable(victims); s != nil {
			b.log.Warn("the disk has no room even for the buffer's accounts: a segment goes before they are written", "file", s.id.file())
			b.forget(s)
			victims = slices.DeleteFunc(slices.Clone(victims), func(o *segment) bool { return o == s })
			err = b.attempt([]*change{{flush: true}}, victims, intoReserve)
		}
	}
	if err != nil {
		b.log.Error("the buffer cannot declare what it wants to give up", "error", plain(err))
	}
	return err == nil
}

// expendable gives the first victim without open batches; one that may hold the only accounts comes last.
func (b *Buffer) expendable(victims []*segment) (last *segment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range victims {
		if b.checkpointed(s) > 0 {
			continue
		}
		if b.byClass[s.id.class].newest() != s {
			return s
		}
		if last == nil {
			last = s
		}
	}
	return last
}

// forget unlinks a segment whose records no commit has declared yet. They are
// remembered like expired ones, and go into the accounts with the next commit.
func (b *Buffer) forget(s *segment) {
	b.mu.Lock()
	var list []expiry
	var at []int
	s.pending(0, func(i int, it *item) bool {
		list, at = append(list, expiry{seg: s, item: *it}), append(at, i)
		return true
	})
	b.mu.Unlock()
	for n := range list {
		if list[n].item.carrier {
			list[n].carried = b.carriedBy(s, at[n])
		}
	}
	if s.condemned && len(list) > 0 {
		list[0].carried = s.carried
	}
	b.mu.Lock()
	for n := range list {
		if s.ack(at[n]) { // else somebody has acknowledged it meanwhile
			s.unsaved++
			b.expired = append(b.expired, list[n])
		}
	}
	b.touched++
	b.byClass[s.id.class] = slices.DeleteFunc(b.byClass[s.id.class], func(o *segment) bool { return o == s })
	b.tombs = append(b.tombs, tomb{seg: s})
	delete(b.stale, s)
	b.mu.Unlock()
	b.sweep()
}

// removeSpare removes files set aside: a person can no longer look at them, but samples are worth more.
func (b *Buffer) removeSpare() (some bool) {
	names, err := durable.Match(b.dir, "*"+suffixCorrupt)
	if err != nil {
		return false
	}
	for _, path := range names {
		if err := b.ops.remove(path); err == nil {
			some = true
			b.log.Warn("a file that was set aside makes room", "file", filepath.Base(path))
		}
	}
	return some
}

// used is the size of all segments.
func (b *Buffer) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	total := int64(0)
	for _, l := range b.byClass {
		total += sizeOf(l)
	}
	return total
}

func sizeOf(list []*segment) (total int64) {
	for _, s := range list {
		total += s.bytes
	}
	return total
}

// adaptStep makes segments smaller than configured where the device is small, so that there are some to choose from.
func (b *Buffer) adaptStep(free int64) {
	b.step = min(b.segment, max((b.used()+free)/16, minSegment))
}
