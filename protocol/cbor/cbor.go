// Package cbor reads and writes the few items of CBOR (RFC 8949) that batches consist of, byte by
// byte and without allocating, and says whether a document is in deterministic form. Documents are
// read and written by protocol/document.
package cbor

import (
	"encoding/binary"
	"fmt"
	"math"

	"telltale.dev/protocol/document"
)

// Major types of CBOR (RFC 8949, 3.1) that a batch uses, and its only simple value.
const (
	MajorUint  = 0
	MajorNint  = 1
	MajorBytes = 2
	MajorText  = 3
	MajorArray = 4
	MajorMap   = 5
	Null       = 0xF6
)

// AppendHead writes the shortest head of a data item.
func AppendHead(dst []byte, major byte, n uint64) []byte {
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

// AppendInt writes a number in its shortest form.
func AppendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return AppendHead(dst, MajorNint, uint64(^v))
	}
	return AppendHead(dst, MajorUint, uint64(v))
}

// AppendBytes writes a byte string.
func AppendBytes(dst, data []byte) []byte {
	return append(AppendHead(dst, MajorBytes, uint64(len(data))), data...)
}

// Reader reads items from the front. It accepts only what the
// functions above write: definite lengths in their shortest form.
type Reader struct {
	Data []byte
	Pos  int
	Of   string // what Data is, for errors: batch or document
}

// Fail names the place of an error; data is not repeated, for it may be private.
func (r *Reader) Fail(expected string) error {
	return fmt.Errorf("byte %d of the %s: expected %s: %w", r.Pos, r.Of, expected, document.ErrMalformed)
}

// Peek gives the next item's major type and whether it is null.
func (r *Reader) Peek() (major byte, null bool, err error) {
	if r.Pos >= len(r.Data) {
		return 0, false, r.Fail("more")
	}
	return r.Data[r.Pos] >> 5, r.Data[r.Pos] == Null, nil
}

// Head reads the head of an item: its major type, and its number or its length.
func (r *Reader) Head() (major byte, n uint64, err error) {
	if r.Pos >= len(r.Data) {
		return 0, 0, r.Fail("more")
	}
	first := r.Data[r.Pos]
	major, info := first>>5, first&31
	if info < 24 {
		r.Pos++
		return major, uint64(info), nil
	}
	if info > 27 {
		return 0, 0, r.Fail("a definite length")
	}
	size := 1 << (info - 24)
	rest := r.Data[r.Pos+1:]
	if len(rest) < size {
		return 0, 0, r.Fail("more")
	}
	for _, b := range rest[:size] {
		n = n<<8 | uint64(b)
	}
	if n < 24 || size > 1 && n>>(4*size) == 0 {
		return 0, 0, r.Fail("the shortest form of a number")
	}
	r.Pos += 1 + size
	return major, n, nil
}

// Item reads the head of an item of the given type.
func (r *Reader) Item(want byte, expected string) (uint64, error) {
	start := r.Pos
	major, n, err := r.Head()
	if err == nil && major != want {
		r.Pos = start
		err = r.Fail(expected)
	}
	return n, err
}

// Uint reads a number from 0.
func (r *Reader) Uint(expected string) (uint64, error) { return r.Item(MajorUint, expected) }

// Array reads the head of an array of at most limit members.
func (r *Reader) Array(limit int, expected string) (int, error) {
	n, err := r.Item(MajorArray, expected)
	if err != nil {
		return 0, err
	}
	if n > uint64(limit) {
		return 0, fmt.Errorf("byte %d of the %s: %d members, expected at most %d: %w", r.Pos, r.Of, n, limit, document.ErrLimit)
	}
	return int(n), nil
}

// Int reads a number that fits an int64.
func (r *Reader) Int(expected string) (int64, error) {
	start := r.Pos
	major, n, err := r.Head()
	switch {
	case err != nil:
		return 0, err
	case n <= math.MaxInt64 && major == MajorUint:
		return int64(n), nil
	case n <= math.MaxInt64 && major == MajorNint:
		return ^int64(n), nil
	}
	r.Pos = start
	return 0, r.Fail(expected)
}

// Bytes reads a byte or text string; the result shares Data's memory.
func (r *Reader) Bytes(major byte, expected string) ([]byte, error) {
	start := r.Pos
	n, err := r.Item(major, expected)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.Data)-r.Pos) {
		r.Pos = start
		return nil, r.Fail(expected + " that does not end before its length")
	}
	r.Pos += int(n)
	return r.Data[r.Pos-int(n) : r.Pos], nil
}

// Null steps over a null.
func (r *Reader) Null() error {
	if _, null, err := r.Peek(); err != nil || !null {
		return r.Fail("null")
	}
	r.Pos++
	return nil
}

// Exactly reads a byte string as long as dst.
func (r *Reader) Exactly(dst []byte, expected string) error {
	data, err := r.Bytes(MajorBytes, expected)
	if err == nil && len(data) != len(dst) {
		err = r.Fail(expected)
	}
	copy(dst, data)
	return err
}
