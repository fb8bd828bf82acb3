package buffer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt trusts its file: a page number that points back to a page above makes
// it recurse until the process dies, and some damage makes it panic in a
// goroutine of its own. So each file's structure is checked before bbolt sees
// it. The layout is that of go.etcd.io/bbolt, internal/common, version 2 of
// the file format; numbers are in the machine's order, little endian on all
// machines we build for.
const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	boltHeader   = 16 // page header: id u64, flags u16, count u16, overflow u32
	boltElement  = 16 // branch: pos u32, ksize u32, page u64; leaf: flags u32, pos u32, ksize u32, vsize u32
	boltBranch   = 1  // page flags
	boltLeaf     = 2
	boltIsBucket = 1 // element flag: the value is a bucket: root u64, sequence u64, inline page when root is 0
	maxDepth     = 16
	maxSegment   = 1 << 30 // bytes of a file that we are willing to look at
)

// checker walks the pages of a file.
type checker struct {
	file io.ReaderAt
	size int64
	high uint64 // pages in use
	half bool   // one of the two meta pages is not valid
	seen map[uint64]bool
}

// checkFile says whether bbolt can open and read the file safely. It says
// nothing about the content of keys and values. The error wraps errDamaged
// or comes from reading. When half is true, one of the two meta pages is not
// valid: either the last commit was interrupted, or it is lost.
func checkFile(file io.ReaderAt, size int64) (half bool, err error) {
	if size < 4*pageSize || size > maxSegment {
		return false, fmt.Errorf("file of %d bytes: %w", size, errDamaged)
	}
	c := checker{file: file, size: size, seen: map[uint64]bool{}}
	root, err := c.meta()
	if err != nil {
		return false, err
	}
	return c.half, c.page(root, 0)
}

// meta reads both meta pages and gives the root page of the newer valid one.
//
//	meta: magic u32, version u32, page size u32, flags u32, root u64, sequence u64, freelist u64, high u64, txid u64, checksum u64
func (c *checker) meta() (root uint64, err error) {
	var newest uint64
	found := false
	for page := range int64(2) {
		var m [boltHeader + 64]byte
		if _, err := c.file.ReadAt(m[:], page*pageSize); err != nil {
			return 0, err
		}
		b := m[boltHeader:]
		sum := fnv.New64a()
		sum.Write(b[:56])
		le := binary.LittleEndian
		if le.Uint32(b) != boltMagic || le.Uint32(b[4:]) != boltVersion || le.Uint32(b[8:]) != pageSize || sum.Sum64() != le.Uint64(b[56:]) {
			c.half = true
			continue
		}
		if txid := le.Uint64(b[48:]); !found || txid > newest {
			found, newest, root, c.high = true, txid, le.Uint64(b[16:]), le.Uint64(b[40:])
		}
	}
	if !found {
		return 0, fmt.Errorf("meta pages: %w", errDamaged)
	}
	return root, nil
}

// page checks a page and everything below it.
func (c *checker) page(id uint64, depth int) error {
	if id < 2 || id >= c.high || int64(id+1)*pageSize > c.size || c.seen[id] || depth > maxDepth {
		return fmt.Errorf("page %d is out of place: %w", id, errDamaged)
	}
	c.seen[id] = true
	data := make([]byte, pageSize)
	if _, err := c.file.ReadAt(data, int64(id)*pageSize); err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(data) != id {
		return fmt.Errorf("page %d has another number: %w", id, errDamaged)
	}
	if overflow := uint64(binary.LittleEndian.Uint32(data[12:])); overflow > 0 {
		if id+overflow >= c.high || int64(id+overflow+1)*pageSize > c.size {
			return fmt.Errorf("page %d is too long: %w", id, errDamaged)
		}
		data = append(data, make([]byte, overflow*pageSize)...)
		if _, err := c.file.ReadAt(data[pageSize:], int64(id+1)*pageSize); err != nil {
			return err
		}
	}
	if err := c.content(data, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// content checks the elements of a page, which may be inline.
func (c *checker) content(data []byte, depth int) error {
	if len(data) < boltHeader {
		return errDamaged
	}
	flags, count := binary.LittleEndian.Uint16(data[8:]), int(binary.LittleEndian.Uint16(data[10:]))
	if flags != boltBranch && flags != boltLeaf || boltHeader+count*boltElement > len(data) || flags == boltBranch && count == 0 {
		return errDamaged
	}
	var last []byte
	for i := range count {
		e, ok := parseElement(data, i, flags)
		if !ok || i > 0 && bytes.Compare(last, e.key) >= 0 {
			return errDamaged
		}
		last = e.key
		var err error
		switch {
		case flags == boltBranch:
			err = c.page(e.child, depth+1)
		case e.bucket:
			err = c.bucket(e.value, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the tree of a bucket.
func (c *checker) bucket(value []byte, depth int) error {
	if len(value) < 16 {
		return errDamaged
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return c.page(root, depth+1)
	}
	inline := value[16:]
	if len(inline) < boltHeader || binary.LittleEndian.Uint16(inline[8:]) != boltLeaf || depth > maxDepth {
		return errDamaged
	}
	return c.content(inline, depth+1)
}

// element is one entry of a page.
type element struct {
	key, value []byte
	child      uint64
	bucket     bool
}

// parseElement reads entry i; positions count from the entry's own place.
func parseElement(data []byte, i int, flags uint16) (element, bool) {
	at := boltHeader + i*boltElement
	le, raw := binary.LittleEndian, data[at:at+boltElement]
	var pos, ksize, vsize uint64
	var e element
	if flags == boltBranch {
		pos, ksize, e.child = uint64(le.Uint32(raw)), uint64(le.Uint32(raw[4:])), le.Uint64(raw[8:])
	} else {
		e.bucket = le.Uint32(raw)&boltIsBucket != 0
		pos, ksize, vsize = uint64(le.Uint32(raw[4:])), uint64(le.Uint32(raw[8:])), uint64(le.Uint32(raw[12:]))
	}
	start := uint64(at) + pos
	if pos < boltElement || start+ksize+vsize > uint64(len(data)) {
		return element{}, false
	}
	e.key, e.value = data[start:start+ksize], data[start+ksize:start+ksize+vsize]
	return e, true
}
