package buffer

import (
	"errors"
	"io"
	"os"
	"time"

	"go.etcd.io/bbolt"

	"telltale.dev/protocol"
)

// OpenFaulty opens a buffer whose file operations ask fault before ("commit",
// "rename", "remove", "sync") and after they were done, and fail with what it says.
func OpenFaulty(c Config, fault func(op string, done bool) error) (*Buffer, error) {
	ops := realOps()
	around := func(op string, do func() error) error {
		if err := fault(op, false); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
		return fault(op, true)
	}
	return open(c, fileOps{
		free: ops.free, reserve: ops.reserve,
		create: func(path string, expected int64) (db *file, err error) {
			err = around("create", func() (err error) { db, err = ops.create(path, expected); return err })
			if err != nil && db != nil {
				err = errors.Join(err, db.Close())
			}
			return db, err
		},
		commit: func(tx *bbolt.Tx) error { return around("commit", func() error { return ops.commit(tx) }) },
		rename: func(from, to string) error { return around("rename", func() error { return ops.rename(from, to) }) },
		remove: func(path string) error { return around("remove", func() error { return ops.remove(path) }) },
		sync:   func(dir string) error { return around("sync", func() error { return ops.sync(dir) }) },
	})
}

var here = position(segmentID{class: 2, number: 7}, []byte{0, 0, 0, 3})

// CheckFile is checkFile.
func CheckFile(file io.ReaderAt, size int64) error {
	_, err := checkFile(file, size)
	return err
}

// EncodeRecord gives the chunks of a record, DecodeRecord the record.
func EncodeRecord(r *Record) [][]byte              { return encodeRecord(r, here, recordForm) }
func EncodeRecordAs(r *Record, form byte) [][]byte { return encodeRecord(r, here, form) }
func DecodeRecord(chunks [][]byte) (Record, error) { return decodeRecord(chunks, here) }
func DecodeHeader(chunks [][]byte) (Record, error) { return decodeHeader(chunks, here) }
func ParseHeader(data []byte) (Record, error)      { return parseHeader(data) }
func AppendHeader(dst []byte, r *Record) []byte    { return appendHeader(dst, r, recordForm) }
func AppendHeaderAs(dst []byte, r *Record, form byte) []byte {
	return appendHeader(dst, r, form)
}

// Base gives the sum of the position with which the sums of these bytes begin.
func Base(data []byte) uint32 {
	if len(data) <= prefixBytes {
		return 0
	}
	return base([][]byte{data}, here)
}
func ParseState(body []byte) (again []byte, e error) { return reencodeState(body) }

func reencodeState(body []byte) ([]byte, error) {
	var a accounts
	notes, err := a.parseState(body)
	if err != nil {
		return nil, err
	}
	return a.appendState(nil, notes), nil
}

// SampleState gives an encoded state with something in each field.
func SampleState() []byte {
	a := accounts{gen: 7, current: Progress{Samples: 5, NextSeq: 9, Seen: []uint64{1, 2}}, counts: Counts{LostRecords: 3}}
	return a.appendState(nil, []note{{id: segmentID{class: 2, number: 9}, void: 4, promoted: true, acked: bits{^uint64(0), 5}}})
}

// SetNow replaces the clock by which evictions wait for each other.
func (b *Buffer) SetNow(now func() time.Time) { b.now = now }

// SealAccount gives a sealed account of a generation, Unseal what is in it.
func SealAccount(gen uint64, body []byte) []byte { return (&accounts{gen: gen}).seal(body) }
func Unseal(v []byte) (uint64, []byte, error)    { return unseal(v) }

// ParseMark says whether a commit mark can be read.
func ParseMark(body []byte) error { return new(commitMark).parse(body) }

// DecodeElsewhere decodes a record of EncodeRecord as if it were in another place.
func DecodeElsewhere(chunks [][]byte) (Record, error) {
	return decodeRecord(chunks, position(segmentID{class: 2, number: 7}, []byte{0, 0, 0, 4}))
}

// Queued is how many calls wait for the commit that runs.
func (b *Buffer) Queued() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}

// Patience is for how long the last eviction that did not help has put off the next one.
func (b *Buffer) Patience() time.Duration { return b.short.patience }

// DropReserve takes the reserve away, and Adopt makes a file the reserve.
func (b *Buffer) DropReserve() error {
	b.reserve.held = 0
	return os.Remove(b.reservePath())
}
func (b *Buffer) Adopt(path string) bool { return b.adopt(path) }

// Ranges adds ranges to those that wait to be declared, then removes others, and gives what is left.
func Ranges(add, remove []protocol.SeqRange) []protocol.SeqRange {
	var a accounts
	for _, r := range add {
		a.evict(r)
	}
	a.carried(remove)
	a.gather()
	return a.evicted
}

// MaxPending is how many ranges wait to be declared.
const MaxPending = maxPending

// ParsePurged reads the account of what was purged, and gives it as it is written now.
func ParsePurged(body []byte) (records, samples uint64, again []byte, err error) {
	var a accounts
	err = a.parsePurged(body)
	return a.counts.PurgedRecords, a.counts.PurgedSamples, a.appendPurged(nil), err
}
