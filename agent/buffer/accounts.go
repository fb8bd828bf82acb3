package buffer

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"telltale.dev/protocol"
)

// MaxBoots is how many boots the accounts remember.
const MaxBoots = 64

// Bounds of what is read from disk; far above what is ever written.
const (
	maxNotes        = 1 << 20
	maxStoredRanges = 1 << 20
	maxBuses        = 1 << 10
	// maxPending is how many ranges wait at most until they are declared; pendingRoom bounds their bytes.
	maxPending = 1 << 18
)

// pendingRoom gives the bytes that ranges to be declared may take in segments of a size: an eighth of what a segment has beside the
// other accounts. Each new segment begins with a copy of them, and each eviction writes another, so that two thirds of the
// buffer are left for records, and on a small device the accounts do not outgrow the reserve. It is the vehicle's own bound:
// 36,000 single sequences with segments of 4 MiB, and 290 with the smallest ones.
func pendingRoom(segment int64) int { return int(segment-accountsBytes) / 8 }

// The keys of the accounts in the bucket "now". Each value is a checksum, the
// generation that wrote it, and a body; the highest generation wins, key by key.
var accountKeys = [...]string{keyState, keyBoots, keyEvicted, keyPurged}

const (
	keyState   = "state"   // written with every decisive commit
	keyBoots   = "boots"   // the older boots; written when they change
	keyEvicted = "evicted" // the evicted ranges; written when they change
	keyPurged  = "purged"  // what was purged; written when it changes, missing when there is nothing
)

// Counts are totals since the directory was made.
type Counts struct {
	EvictedRecords uint64 // dropped to keep the size bound or expired, never delivered
	EvictedSamples uint64
	EvictedBytes   uint64 // payload bytes
	PurgedRecords  uint64 // dropped because of their purpose; the evicted ones above include them
	PurgedSamples  uint64
	LostRecords    uint64 // damaged on disk and never delivered, as far as known
	LostSamples    uint64
}

// accounts is what must outlive every segment. A value is immutable once it
// is shared: slices are replaced, never changed.
type accounts struct {
	gen        uint64              // of the last commit
	current    Progress            // of the boot that appended last; zero Boot: none yet
	boots      []Progress          // of other boots, oldest first
	evicted    ranges              // not yet carried by a committed record; complete after gather
	more       []protocol.SeqRange // to be added to evicted
	counts     Counts
	next       [protocol.Priorities + 1]uint64 // number of the newest segment ever made, by class
	ends       [protocol.Priorities + 1]end    // of the newest segment, by class
	room       int                             // bytes that evicted may take; 0: no bound
	undeclared uint64                          // ranges that found no room there since Open, and are declared never
	purgedOpen []purgedOpen                    // open batches that were purged, as long as their segments know nothing of it

	changedBoots, changedEvicted, changedPurged bool // since the last commit
}

// end says how many records a segment has had, to notice when its last commit is missing.
type end struct{ number, records uint64 }

// note is what the accounts say about one segment.
type note struct {
	id       segmentID
	void     uint64 // the generation that failed and whose portion in this segment does not count; 0: none
	promoted bool   // its checkpoints are records
	gone     bool   // acknowledged or evicted as a whole; the file may still be there
	acked    bits
}

func (n *note) trivial() bool { return n.void == 0 && !n.promoted && !n.gone && len(n.acked) == 0 }

// advance takes over p as the newest account of its boot.
func (a *accounts) advance(p Progress) {
	if p.Boot == (protocol.BootID{}) {
		return
	}
	if p.Boot != a.current.Boot {
		others := make([]Progress, 0, len(a.boots)+1)
		for _, o := range append(slices.Clone(a.boots), a.current) {
			if o.Boot != p.Boot && o.Boot != (protocol.BootID{}) {
				others = append(others, o)
			}
		}
		a.boots = others[max(0, len(others)-(MaxBoots-1)):]
		a.changedBoots = true
	}
	a.current = p
	a.current.Seen = slices.Clone(p.Seen)
}

// all gives the accounts of all boots, oldest first.
func (a *accounts) all() []Progress {
	list := slices.Clone(a.boots)
	if a.current.Boot != (protocol.BootID{}) {
		list = append(list, a.current)
	}
	return list
}

func (a *accounts) evict(r protocol.SeqRange) {
	a.more, a.changedEvicted = append(a.more, r), true
}

// gather completes evicted.
func (a *accounts) gather() {
	if len(a.more) > 0 {
		a.evicted, a.more = a.evicted.add(a.more), nil
		a.trim()
	}
}

// trim keeps evicted within its bounds. The oldest ranges that find no room are not declared any more: the cloud sees them as missing.
func (a *accounts) trim() {
	room, gone := a.room, max(0, len(a.evicted)-maxPending)
	for i := len(a.evicted) - 1; a.room > 0 && i >= gone; i-- {
		if room -= rangeBytes(a.evicted[i]); room < 0 {
			gone = i + 1
		}
	}
	a.evicted, a.undeclared = a.evicted[gone:], a.undeclared+uint64(gone)
}

// carried takes note that a record declares these ranges.
func (a *accounts) carried(list []protocol.SeqRange) {
	if len(list) > 0 {
		a.gather()
		a.evicted, a.changedEvicted = a.evicted.remove(list), true
	}
}

// encode gives the values to be written; whole: all of them, else the changed ones.
func (a *accounts) encode(notes []note, whole bool) map[string][]byte {
	a.gather()
	values := map[string][]byte{keyState: a.seal(a.appendState(nil, notes))}
	if whole || a.changedBoots {
		values[keyBoots] = a.seal(appendBoots(nil, a.boots))
	}
	if whole || a.changedEvicted {
		values[keyEvicted] = a.seal(appendRanges(nil, a.evicted))
	}
	if a.counts.PurgedRecords > 0 && (whole || a.changedPurged) {
		values[keyPurged] = a.seal(a.appendPurged(nil))
	}
	return values
}

const sealBytes = 12

func (a *accounts) seal(body []byte) []byte {
	v := make([]byte, sealBytes, sealBytes+len(body))
	binary.LittleEndian.PutUint64(v[4:], a.gen)
	v = append(v, body...)
	binary.LittleEndian.PutUint32(v, crc32.Checksum(v[4:], castagnoli))
	return v
}

// unseal checks a value and splits it.
func unseal(v []byte) (gen uint64, body []byte, err error) {
	if len(v) < sealBytes || crc32.Checksum(v[4:], castagnoli) != binary.LittleEndian.Uint32(v) {
		return 0, nil, errDamaged
	}
	return binary.LittleEndian.Uint64(v[4:]), v[sealBytes:], nil
}

func (a *accounts) appendState(b []byte, notes []note) []byte {
	for class := range a.next[1:] {
		b = binary.AppendUvarint(b, a.next[class+1])
		b = binary.AppendUvarint(b, a.ends[class+1].number)
		b = binary.AppendUvarint(b, a.ends[class+1].records)
	}
	for _, n := range a.counts.fields() {
		b = binary.AppendUvarint(b, *n)
	}
	b = appendBoots(b, []Progress{a.current})
	b = binary.AppendUvarint(b, uint64(len(notes)))
	for i := range notes {
		b = notes[i].append(b)
	}
	return b
}

func (c *Counts) fields() []*uint64 {
	return []*uint64{&c.EvictedRecords, &c.EvictedSamples, &c.EvictedBytes, &c.LostRecords, &c.LostSamples}
}

const (
	notePromoted = 1 << iota
	noteGone
)

// append writes n; acknowledged records as a run from 0 and the words after it.
func (n *note) append(b []byte) []byte {
	var flags byte
	if n.promoted {
		flags |= notePromoted
	}
	if n.gone {
		flags |= noteGone
	}
	b = append(b, byte(n.id.class), flags)
	b = binary.AppendUvarint(b, n.id.number)
	b = binary.AppendUvarint(b, n.void)
	full := 0
	for full < len(n.acked) && n.acked[full] == ^uint64(0) {
		full++
	}
	b = binary.AppendUvarint(b, uint64(full))
	b = binary.AppendUvarint(b, uint64(len(n.acked)-full))
	for _, w := range n.acked[full:] {
		b = binary.AppendUvarint(b, w)
	}
	return b
}

func (d *decoder) note() note {
	n := note{id: segmentID{class: protocol.Priority(d.byte())}}
	flags := d.byte()
	n.promoted, n.gone = flags&notePromoted != 0, flags&noteGone != 0
	n.id.number, n.void = d.uvarint(), d.uvarint()
	for range d.count(maxItems) {
		n.acked = append(n.acked, ^uint64(0))
	}
	for range d.count(min(maxItems, len(d.rest))) {
		n.acked = append(n.acked, d.uvarint())
	}
	return n
}

// parseState reads what appendState wrote.
func (a *accounts) parseState(body []byte) ([]note, error) {
	d := decoder{rest: body}
	for i := range a.next[1:] {
		a.next[i+1], a.ends[i+1] = d.uvarint(), end{d.uvarint(), d.uvarint()}
	}
	for _, n := range a.counts.fields() {
		*n = d.uvarint()
	}
	for _, p := range d.boots() {
		a.current = p
	}
	var notes []note
	for range d.count(min(maxNotes, len(d.rest))) {
		notes = append(notes, d.note())
	}
	if d.bad || len(d.rest) > 0 {
		return nil, errDamaged
	}
	return notes, nil
}

func appendBoots(b []byte, list []Progress) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, p := range list {
		b = append(b, p.Boot[:]...)
		for _, n := range [...]uint64{p.Received, p.Dropped, p.Decoded, p.Unknown, p.Samples, p.Bytes, p.NextSeq} {
			b = binary.AppendUvarint(b, n)
		}
		b = binary.AppendUvarint(b, uint64(len(p.Seen)))
		for _, n := range p.Seen {
			b = binary.AppendUvarint(b, n)
		}
	}
	return b
}

func (d *decoder) boots() []Progress {
	var list []Progress
	for range d.count(MaxBoots) {
		p := Progress{Boot: protocol.BootID(d.bytes(8))}
		p.Received, p.Dropped, p.Decoded = d.uvarint(), d.uvarint(), d.uvarint()
		p.Unknown, p.Samples, p.Bytes, p.NextSeq = d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
		for range d.count(maxBuses) {
			p.Seen = append(p.Seen, d.uvarint())
		}
		list = append(list, p)
	}
	return list
}

func parseBoots(body []byte) ([]Progress, error) {
	d := decoder{rest: body}
	list := d.boots()
	if d.bad || len(d.rest) > 0 {
		return nil, errDamaged
	}
	return list, nil
}

func parseEvicted(body []byte) (ranges, error) {
	d := decoder{rest: body}
	list := d.ranges(maxStoredRanges)
	if d.bad || len(d.rest) > 0 {
		return nil, errDamaged
	}
	return list, nil
}
