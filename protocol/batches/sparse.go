package batches

import (
	"math/bits"

	"telltale.dev/protocol/cbor"
)

// decodeSparse fills dst from a column that has values in some rows only, and gives the bitmap of those.
func decodeSparse(dst []int64, data []byte) (present []uint64, err error) {
	p := payload{data[1:]}
	present = make([]uint64, (len(dst)+63)/64)
	count := 0
	switch coding(data[0]) {
	case sparseBitmap:
		count, err = readBitmap(present, len(dst), &p)
	case sparseGaps:
		count, err = readGaps(present, len(dst), &p)
	default:
		err = columnError("a known tag")
	}
	if err != nil {
		return nil, err
	}
	if count == 0 || count == len(dst) {
		return nil, columnError("values in some rows but not in all")
	}
	if err := decodeColumn(dst[:count], p.data); err != nil {
		return nil, err
	}
	spread(dst, count, present)
	return present, nil
}

// spread moves the first count values to the rows of the bitmap, last first, and clears the others.
func spread(dst []int64, count int, present []uint64) {
	for row := len(dst) - 1; row >= 0; row-- {
		if present[row/64]>>(row%64)&1 == 0 {
			dst[row] = 0
			continue
		}
		count--
		dst[row] = dst[count]
	}
}

func readBitmap(present []uint64, rows int, p *payload) (count int, err error) {
	data, err := p.take((rows+7)/8, "a bitmap of its rows")
	if err != nil {
		return 0, err
	}
	for i, b := range data {
		present[i/8] |= uint64(b) << (8 * (i % 8))
		count += bits.OnesCount8(b)
	}
	if rows%64 != 0 && present[len(present)-1]>>(rows%64) != 0 {
		return 0, columnError("zeros after the last row")
	}
	return count, nil
}

// countBitmap is readBitmap without the bitmap: the number of its rows only.
func countBitmap(rows int, p *payload) (count int, err error) {
	data, err := p.take((rows+7)/8, "a bitmap of its rows")
	for _, b := range data {
		count += bits.OnesCount8(b)
	}
	return min(count, rows), err
}

func readGaps(present []uint64, rows int, p *payload) (count int, err error) {
	n, err := p.uvarint("a number of values")
	if err != nil {
		return 0, err
	}
	if n > uint64(rows) {
		return 0, columnError("a value for each row at most")
	}
	row := uint64(0)
	for range n {
		gap, err := p.uvarint("a gap for each value")
		if err != nil {
			return 0, err
		}
		if gap >= uint64(rows)-row {
			return 0, columnError("gaps within the rows")
		}
		row += gap
		present[row/64] |= 1 << (row % 64)
		row++
	}
	return int(n), nil
}

// appendChanged writes column c of a group whose rows have bitmaps; values has room for each row.
func (w *columnWriter) appendChanged(dst []byte, values []int64, g *groupBuffer, c int) []byte {
	rows := len(values)
	w.bitmap = resize(w.bitmap, (rows+7)/8)
	clear(w.bitmap)
	count, gapBytes, last := 0, 0, -1
	word, shift := c/64, c%64
	for row := range rows {
		if g.present[row*g.words+word]>>shift&1 == 0 {
			continue
		}
		w.bitmap[row/8] |= 1 << (row % 8)
		values[count] = g.values[row*g.width+c]
		count++
		gapBytes += uvarintLen(uint64(row - last - 1))
		last = row
	}
	switch count {
	case 0:
		return append(dst, cbor.Null)
	case rows:
		return w.append(dst, values, false)
	}
	w.coded = w.coded[:0]
	if uvarintLen(uint64(count))+gapBytes < len(w.bitmap) {
		w.coded = append(w.coded, byte(sparseGaps))
		w.coded = appendUvarint(w.coded, uint64(count))
		w.coded = appendGaps(w.coded, w.bitmap, rows)
	} else {
		w.coded = append(append(w.coded, byte(sparseBitmap)), w.bitmap...)
	}
	best := w.choose(values[:count], false)
	w.coded = best.append(w.coded)
	return cbor.AppendBytes(dst, w.coded)
}

func appendGaps(dst, bitmap []byte, rows int) []byte {
	last := -1
	for row := range rows {
		if bitmap[row/8]>>(row%8)&1 == 1 {
			dst = appendUvarint(dst, uint64(row-last-1))
			last = row
		}
	}
	return dst
}
