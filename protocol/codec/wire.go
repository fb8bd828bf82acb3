package codec

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"

	"telltale.dev/protocol/document"
)

// Major types of CBOR (RFC 8949, 3.1) that a batch uses, and its only simple value.
const (
	majorUint  = 0
	majorNint  = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	simpleNull = 0xF6
)

// appendHead writes the shortest head of a data item.
func appendHead(dst []byte, major byte, n uint64) []byte {
	m := major << 5
	switch {
	case n < 24:
		return append(dst, m|byte(n))
	case n <= math.MaxUint8:
		return append(dst, m|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, m|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, m|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, m|27), n)
}

func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, majorNint, uint64(^v))
	}
	return appendHead(dst, majorUint, uint64(v))
}

func appendBytes(dst, data []byte) []byte {
	return append(appendHead(dst, majorBytes, uint64(len(data))), data...)
}

// reader reads the CBOR of a batch from the front. It accepts only what the
// functions above write: definite lengths in their shortest form.
type reader struct {
	data []byte
	pos  int
	of   string // what data is, for errors; empty: a batch
}

// fail names the place of an error; data is not repeated, for it may be private.
func (r *reader) fail(expected string) error {
	return fmt.Errorf("byte %d of the %s: expected %s: %w", r.pos, cmp.Or(r.of, "batch"), expected, document.ErrMalformed)
}

// peek gives the next item's major type and whether it is null.
func (r *reader) peek() (major byte, null bool, err error) {
	if r.pos >= len(r.data) {
		return 0, false, r.fail("more")
	}
	return r.data[r.pos] >> 5, r.data[r.pos] == simpleNull, nil
}

func (r *reader) head() (major byte, n uint64, err error) {
	if r.pos >= len(r.data) {
		return 0, 0, r.fail("more")
	}
	first := r.data[r.pos]
	major, info := first>>5, first&31
	if info < 24 {
		r.pos++
		return major, uint64(info), nil
	}
	if info > 27 {
		return 0, 0, r.fail("a definite length")
	}
	size := 1 << (info - 24)
	rest := r.data[r.pos+1:]
	if len(rest) < size {
		return 0, 0, r.fail("more")
	}
	for _, b := range rest[:size] {
		n = n<<8 | uint64(b)
	}
	if n < 24 || size > 1 && n>>(4*size) == 0 {
		return 0, 0, r.fail("the shortest form of a number")
	}
	r.pos += 1 + size
	return major, n, nil
}

// item reads the head of an item of the given type.
func (r *reader) item(want byte, expected string) (uint64, error) {
	start := r.pos
	major, n, err := r.head()
	if err == nil && major != want {
		r.pos = start
		err = r.fail(expected)
	}
	return n, err
}

func (r *reader) uint(expected string) (uint64, error) { return r.item(majorUint, expected) }

// array reads the head of an array of at most limit members.
func (r *reader) array(limit int, expected string) (int, error) {
	n, err := r.item(majorArray, expected)
	if err != nil {
		return 0, err
	}
	if n > uint64(limit) {
		return 0, fmt.Errorf("byte %d of the batch: %d members, expected at most %d: %w", r.pos, n, limit, document.ErrLimit)
	}
	return int(n), nil
}

func (r *reader) int(expected string) (int64, error) {
	start := r.pos
	major, n, err := r.head()
	switch {
	case err != nil:
		return 0, err
	case n <= math.MaxInt64 && major == majorUint:
		return int64(n), nil
	case n <= math.MaxInt64 && major == majorNint:
		return ^int64(n), nil
	}
	r.pos = start
	return 0, r.fail(expected)
}

// bytes reads a byte or text string; the result shares r's memory.
func (r *reader) bytes(major byte, expected string) ([]byte, error) {
	start := r.pos
	n, err := r.item(major, expected)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.data)-r.pos) {
		r.pos = start
		return nil, r.fail(expected + " that does not end before its length")
	}
	r.pos += int(n)
	return r.data[r.pos-int(n) : r.pos], nil
}

// null steps over a null.
func (r *reader) null() error {
	if _, null, err := r.peek(); err != nil || !null {
		return r.fail("null")
	}
	r.pos++
	return nil
}
