package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"unique"

	"go.etcd.io/bbolt"

	"telltale.dev/protocol"
)

// loaded is what one segment file says.
type loaded struct {
	id       segmentID
	last     commitMark
	accounts map[string]account // by key; damaged ones are missing
	items    []item
	emptied  emptied   // when it was emptied in place
	versions []version // of checkpoints, oldest first
	bytes    int64
	half     bool   // a meta page is not valid: the last commit may be missing
	lost     int    // damaged records and accounts
	void     uint64 // the generation taken back; 0: none
}

// account is one of the accounts, still encoded.
type account struct {
	gen  uint64
	body []byte
}

// commitMark is the last commit in a file.
type commitMark struct {
	gen      uint64
	from     int  // records from here on belong to it
	decisive bool // it carries the accounts
	fresh    bool // it made the file
}

func (m commitMark) append(b []byte) []byte {
	var flags byte
	if m.decisive {
		flags |= 1
	}
	if m.fresh {
		flags |= 2
	}
	return binary.AppendUvarint(append(b, flags), uint64(m.from))
}

func (m *commitMark) parse(body []byte) error {
	d := decoder{rest: body}
	flags := d.byte()
	m.from, m.decisive, m.fresh = int(d.uvarint()), flags&1 != 0, flags&2 != 0
	if d.bad || len(d.rest) > 0 || flags > 3 {
		return errDamaged
	}
	return nil
}

// checkpointKey is the length of a checkpoint's key without the number of the chunk.
const checkpointKey = 10

// version is one stored state of a checkpoint.
type version struct {
	key     []byte // generation u64 ‖ n u16
	gen     uint64
	subject subject
	item    item
}

// subject tells checkpoints of a class apart: a newer one replaces an older one of its subject. The ID belongs to it, since
// several batches of one topic and schema may be open at once.
type subject struct {
	class  protocol.Priority
	topic  string
	schema protocol.SchemaHash
	id     protocol.MessageID
}

func subjectOf(r *Record) subject {
	return subject{class: r.Priority, topic: r.Topic, schema: r.Schema, id: r.ID}
}

func itemOf(r *Record, payload int) item {
	return item{
		id: r.ID, payload: uint32(payload), samples: r.Samples, carrier: len(r.Evicted) > 0,
		purpose: unique.Make(r.Purpose), schema: unique.Make(r.Schema),
	}
}

// loadFile reads a segment file completely and checks it. Damaged records are
// marked lost; an error means that nothing can be said about the file.
func loadFile(dir string, id segmentID) (*loaded, error) {
	path := filepath.Join(dir, id.file())
	half, err := checkPath(path)
	if err != nil {
		return nil, err
	}
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	l := &loaded{id: id, half: half, accounts: map[string]account{}}
	err = noPanic(func() error { return db.View(l.read) })
	return l, errors.Join(err, db.Close())
}

func checkPath(path string) (half bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return checkFile(f, info.Size())
}

func (l *loaded) read(tx *bbolt.Tx) error {
	l.bytes = tx.Size()
	now := tx.Bucket(bucketNow)
	if now == nil {
		return fmt.Errorf("no accounts: %w", errDamaged)
	}
	gen, body, err := unseal(now.Get(keyCommit))
	if err == nil {
		l.last.gen, err = gen, l.last.parse(body)
	}
	if err != nil {
		return fmt.Errorf("last commit: %w", err)
	}
	for _, key := range accountKeys {
		l.readAccount(now, key)
	}
	if pending := tx.Bucket(bucketPending); pending != nil {
		l.readAccount(pending, keyEvicted)
	}
	if v := now.Get(keyEmptied); v != nil {
		if err := l.emptied.parse(v); err != nil {
			return fmt.Errorf("what was emptied: %w", err)
		}
		l.items = make([]item, l.emptied.first) // they have gone, and were declared
	}
	if err := l.readRecords(tx.Bucket(bucketRecords)); err != nil {
		return err
	}
	return l.readVersions(tx.Bucket(bucketCheckpoints))
}

// readAccount takes an account if it is newer than what was read of it before.
func (l *loaded) readAccount(b *bbolt.Bucket, key string) {
	v := b.Get([]byte(key))
	if v == nil {
		return
	}
	gen, body, err := unseal(v)
	switch old, ok := l.accounts[key]; {
	case err != nil:
		l.lost++
	case !ok || gen > old.gen:
		l.accounts[key] = account{gen, bytes.Clone(body)}
	}
}

// eachChunked calls f for each run of chunks with the same key of n bytes.
func eachChunked(b *bbolt.Bucket, n int, f func(prefix []byte, chunks [][]byte) error) error {
	if b == nil {
		return nil
	}
	var prefix []byte
	var chunks [][]byte
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if len(k) != n+2 {
			return fmt.Errorf("key of %d bytes: %w", len(k), errDamaged)
		}
		if !bytes.Equal(prefix, k[:n]) {
			if prefix != nil {
				if err := f(prefix, chunks); err != nil {
					return err
				}
			}
			prefix, chunks = k[:n], chunks[:0]
		}
		if int(binary.BigEndian.Uint16(k[n:])) != len(chunks) {
			v = nil // a chunk is missing: the lengths or the checksum will tell
		}
		chunks = append(chunks, v)
	}
	if prefix == nil {
		return nil
	}
	return f(prefix, chunks)
}

func (l *loaded) readRecords(b *bbolt.Bucket) error {
	return eachChunked(b, 4, func(prefix []byte, chunks [][]byte) error {
		index := int(binary.BigEndian.Uint32(prefix))
		if index < len(l.items) || index > len(l.items)+maxItems {
			return fmt.Errorf("record %d is out of place: %w", index, errDamaged)
		}
		for len(l.items) < index {
			l.items = append(l.items, item{lost: true})
			l.lost++
		}
		l.items = append(l.items, l.inspect(prefix, chunks).item)
		return nil
	})
}

func (l *loaded) readVersions(b *bbolt.Bucket) error {
	return eachChunked(b, checkpointKey, func(prefix []byte, chunks [][]byte) error {
		v := l.inspect(prefix, chunks)
		v.key, v.gen = bytes.Clone(prefix), binary.BigEndian.Uint64(prefix)
		if !v.item.lost && !l.emptied.outdated(&v) {
			l.versions = append(l.versions, v)
		}
		return nil
	})
}

// inspect checks a record and tells what it is.
func (l *loaded) inspect(key []byte, chunks [][]byte) version {
	at := position(l.id, key)
	r, err := decodeHeader(chunks, at)
	var v version
	if err == nil {
		_, payload, _ := measure(chunks)
		v.subject, v.item = subjectOf(&r), itemOf(&r, payload)
	}
	if err != nil || verify(chunks, at) != nil {
		v.item.lost = true
		l.lost++
	}
	return v
}

// withdraw takes back what the last commit did in this file.
func (l *loaded) withdraw() {
	l.items = l.items[:min(l.last.from, len(l.items))]
	l.versions = slices.DeleteFunc(l.versions, func(v version) bool { return v.gen == l.last.gen })
	if l.last.fresh {
		clear(l.accounts)
	}
}

// survivors gives the checkpoints that stand in for records: the newest
// of each subject, unless the record itself has been appended.
func (l *loaded) survivors() []version {
	appended := map[protocol.MessageID]bool{}
	for _, it := range l.items {
		if it.id.Seq != 0 {
			appended[it.id] = true
		}
	}
	newest := map[subject]uint64{}
	for _, v := range l.versions {
		newest[v.subject] = max(newest[v.subject], v.gen)
	}
	var list []version
	for _, v := range l.versions {
		if v.gen == newest[v.subject] && !appended[v.item.id] {
			list = append(list, v)
		}
	}
	return list
}
