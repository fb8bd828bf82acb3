package buffer

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	"telltale.dev/protocol"
)

// maxItems closes a segment by its number of records, so that what is kept in
// memory and written about one segment stays small.
const maxItems = 4096

// Suffixes of file names.
const (
	suffixSegment = ".seg"
	suffixNew     = ".new"     // not yet committed; removed at Open
	suffixCorrupt = ".corrupt" // set aside; never touched again
)

// segmentID names a segment.
type segmentID struct {
	class  protocol.Priority
	number uint64 // from 1
}

// file gives the base name of the segment's file: "cs1-00000007.seg".
func (id segmentID) file() string {
	return fmt.Sprintf("cs%d-%08d%s", id.class-protocol.CS0, id.number, suffixSegment)
}

// parseFile reads what file writes.
func parseFile(name string) (segmentID, bool) {
	var id segmentID
	base, ok := strings.CutSuffix(name, suffixSegment)
	if !ok || len(base) < 5 || base[:2] != "cs" || base[3] != '-' || base[2] < '0' || base[2] > '6' {
		return id, false
	}
	number, err := strconv.ParseUint(base[4:], 10, 64)
	id = segmentID{class: protocol.CS0 + protocol.Priority(base[2]-'0'), number: number}
	return id, err == nil && number > 0 && id.file() == name
}

// item is what is kept in memory about a record.
type item struct {
	id      protocol.MessageID
	payload uint32 // bytes
	samples uint32
	purpose unique.Handle[string]
	schema  unique.Handle[protocol.SchemaHash]
	carrier bool // declares evicted ranges
	lost    bool // damaged on disk
}

// segment is one file. All fields but the first are guarded by Buffer.mu.
type segment struct {
	id segmentID

	db        *file               // nil: not open
	writable  bool                // made by this process, and no write to it went wrong
	evicting  bool                // chosen for eviction by the commit that runs
	condemned bool                // it was emptied by a commit that failed; see condemn
	carried   []protocol.SeqRange // by its waiting records, when it is condemned
	damaged   bool                // found damaged in some place: set aside instead of unlinked
	rests     time.Time           // it is not read before
	promoted  bool
	void      uint64
	bytes     int64 // of the file's pages that were ever used
	emptied   int64 // bytes that were used when it was emptied in place; they are used again
	lent      int64 // bytes that the reserve gave it

	// items holds the committed records in append order; the key of record i
	// is i, from base on it is checkpoint virtual[i-base].
	items   []item
	base    int
	virtual [][]byte
	acked   bits
	hidden  bits // chosen by the purge that runs
	waiting Waiting
	unsaved int // expired records that no commit has declared yet
}

// Waiting counts records that are not yet acknowledged.
type Waiting struct {
	Records uint64
	Samples uint64
	Bytes   uint64 // of payload
}

func (w *Waiting) add(i *item) {
	w.Records++
	w.Samples += uint64(i.samples)
	w.Bytes += uint64(i.payload)
}

func (w *Waiting) sub(i *item) {
	w.Records--
	w.Samples -= uint64(i.samples)
	w.Bytes -= uint64(i.payload)
}

func (w *Waiting) plus(o Waiting) {
	w.Records += o.Records
	w.Samples += o.Samples
	w.Bytes += o.Bytes
}

// extend appends committed items.
func (s *segment) extend(items []item) {
	for i := range items {
		s.items = append(s.items, items[i])
		if !s.acked.has(len(s.items) - 1) {
			s.waiting.add(&items[i])
		}
	}
}

// ack marks record i; false when it was marked before, or is being purged.
func (s *segment) ack(i int) bool {
	if i >= len(s.items) || s.acked.has(i) || s.hidden.has(i) {
		return false
	}
	s.acked = s.acked.with(i)
	s.waiting.sub(&s.items[i])
	return true
}

// pending calls f for each unacknowledged record that is not being purged, from index from on, until it returns false.
func (s *segment) pending(from int, f func(i int, it *item) bool) {
	for i := from; i < len(s.items); i++ {
		if !s.acked.has(i) && !s.hidden.has(i) && !f(i, &s.items[i]) {
			return
		}
	}
}

// key gives where record i is stored: the bucket and the key without the chunk number.
func (s *segment) key(i int) (bucket, prefix []byte) {
	if i >= s.base && len(s.virtual) > 0 {
		return bucketCheckpoints, s.virtual[i-s.base]
	}
	return bucketRecords, binary.BigEndian.AppendUint32(nil, uint32(i))
}

func (s *segment) note() note {
	return note{id: s.id, void: s.void, promoted: s.promoted, acked: s.acked.union(s.hidden)}
}

// size gives the bytes that the file takes.
func (s *segment) size() int64 { return max(s.bytes, s.lent) }

// segmentList has the segments of one priority class, oldest first; guarded by Buffer.mu.
type segmentList []*segment

func (l segmentList) newest() *segment {
	if len(l) == 0 {
		return nil
	}
	return l[len(l)-1]
}

func (l segmentList) find(number uint64) *segment {
	i, ok := slices.BinarySearchFunc(l, number, func(s *segment, n uint64) int {
		switch {
		case s.id.number < n:
			return -1
		case s.id.number > n:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return l[i]
}
