package batches

import (
	"fmt"
	"math/bits"

	"telltale.dev/protocol/document"
)

// A coded column is a tag byte and a payload. The tag says how the values
// became small numbers (residuals), in its upper half, and how those are packed,
// in its lower half. All arithmetic wraps modulo 2^64, so each int64 comes back exactly.
//
//	tag  0x0p  offset   base uvarint(zigzag min);            n residuals v − min
//	     0x1p  delta    base uvarint(zigzag first);          n−1 residuals zigzag(v[i] − v[i−1])
//	     0x2p  bend     first, uvarint(zigzag first step);   n−2 residuals zigzag(change of the step)
//	     0x3p  line     first, uvarint(zigzag slope · 2^16); n residuals zigzag(v[i] − first − ⌊slope·i⌋)
//	     0x40  bitmap   ⌈n/8⌉ bytes, bit i: row i has a value; then the coded column of those values
//	     0x41  gaps     uvarint count, then for each value the rows without one before it; then as above
//
//	p    0  zero     nothing: all residuals are 0
//	     1  varint   uvarints
//	     2  planes   byte width; all lowest bytes, then all second bytes, …
//	     3  bits     byte width; residuals of that many bits, lowest bit first, the last byte filled with 0
//	     4  runs     uvarint count; a uvarint residual for each run; for each but the last its length − 1
//
// A uvarint has 7 bits a byte, lowest first, in its shortest form; zigzag maps 0, −1, 1, −2 … to 0, 1, 2, 3 ….
type coding byte

// The transforms, in the upper half of a tag. Append-only: stored batches hold them.
const (
	offset coding = iota << 4
	delta
	bend
	line
	sparse
)

// The packings, in the lower half. Append-only.
const (
	packZero coding = iota
	packVarint
	packPlanes
	packBits
	packRuns
)

// How sparse columns say which rows have a value.
const (
	sparseBitmap = sparse
	sparseGaps   = sparse | 1
)

// slopeBits is the fraction of a line's slope.
const slopeBits = 16

func (c coding) transform() coding { return c & 0xF0 }
func (c coding) packing() coding   { return c & 0x0F }

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// appendUvarint is binary.AppendUvarint, which does not inline.
func appendUvarint(dst []byte, u uint64) []byte {
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

// uvarintLen is the number of bytes that appendUvarint writes.
func uvarintLen(u uint64) int { return (bits.Len64(u|1) + 6) / 7 }

// lineAt is the point i of a line, relative to its start.
func lineAt(slope int64, i int) int64 { return slope * int64(i) >> slopeBits }

// payload reads the payload of a column from the front.
type payload struct{ data []byte }

func (p *payload) byte(expected string) (byte, error) {
	if len(p.data) == 0 {
		return 0, columnError(expected)
	}
	b := p.data[0]
	p.data = p.data[1:]
	return b, nil
}

func (p *payload) uvarint(expected string) (uint64, error) {
	var u uint64
	for i, b := range p.data {
		if i == 9 && b > 1 || i > 9 {
			break
		}
		u |= uint64(b&0x7F) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				break
			}
			p.data = p.data[i+1:]
			return u, nil
		}
	}
	return 0, columnError(expected)
}

func (p *payload) take(n int, expected string) ([]byte, error) {
	if n > len(p.data) {
		return nil, columnError(expected)
	}
	taken := p.data[:n]
	p.data = p.data[n:]
	return taken, nil
}

func columnError(expected string) error {
	return fmt.Errorf("column: expected %s: %w", expected, document.ErrMalformed)
}

// decodeColumn fills dst from a coded column that has a value in each row.
func decodeColumn(dst []int64, data []byte) error {
	p := payload{data}
	tag, err := p.byte("a tag")
	if err != nil {
		return err
	}
	c := coding(tag)
	var base [2]int64
	bases, skipped := 1, 0
	switch c.transform() {
	case offset:
	case delta:
		skipped = 1
	case bend:
		bases, skipped = 2, 2
	case line:
		bases = 2
	default:
		return columnError("a known tag")
	}
	if len(dst) < max(skipped, 1) {
		return columnError("enough rows for its coding")
	}
	for i := range bases {
		u, err := p.uvarint("its base")
		if err != nil {
			return err
		}
		base[i] = unzigzag(u)
	}
	if err := unpack(dst[skipped:], c.packing(), &p); err != nil {
		return err
	}
	if len(p.data) != 0 {
		return columnError("no bytes left over")
	}
	restore(dst, c.transform(), base)
	return nil
}

// restore turns the residuals in dst back into values, in place.
func restore(dst []int64, transform coding, base [2]int64) {
	switch transform {
	case offset:
		for i, r := range dst {
			dst[i] = base[0] + r
		}
	case delta:
		dst[0] = base[0]
		for i := 1; i < len(dst); i++ {
			dst[i] = dst[i-1] + unzigzag(uint64(dst[i]))
		}
	case bend:
		step := base[1]
		dst[0], dst[1] = base[0], base[0]+step
		for i := 2; i < len(dst); i++ {
			step += unzigzag(uint64(dst[i]))
			dst[i] = dst[i-1] + step
		}
	case line:
		for i, r := range dst {
			dst[i] = base[0] + lineAt(base[1], i) + unzigzag(uint64(r))
		}
	}
}

// residuals is the inverse of restore for bend and line: it fills dst and gives the bases. The
// result is dst cut to the residuals that are stored. See columnWriter.differences for the others.
func residuals(dst []uint64, values []int64, transform coding) (base [2]int64, res []uint64) {
	n := len(values)
	if transform == bend {
		step := values[1] - values[0]
		base = [2]int64{values[0], step}
		for i := 2; i < n; i++ {
			next := values[i] - values[i-1]
			dst[i-2], step = zigzag(next-step), next
		}
		return base, dst[:n-2]
	}
	slope := slopeOf(values)
	for i, v := range values {
		dst[i] = zigzag(v - values[0] - lineAt(slope, i))
	}
	return [2]int64{values[0], slope}, dst[:n]
}

// slopeOf is the slope of the line from the first to the last value, 0 when it is too steep to be one.
func slopeOf(values []int64) int64 {
	rise := values[len(values)-1] - values[0]
	if len(values) < 2 || rise < -1<<40 || rise > 1<<40 {
		return 0
	}
	return (rise << slopeBits) / int64(len(values)-1)
}
