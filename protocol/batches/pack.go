package batches

import "slices"

// maxBits is the widest packBits: with up to 7 bits waiting it fits a word.
const maxBits = 56

// pack appends the residuals of a choice in its packing.
func pack(dst []byte, c *choice) []byte {
	switch c.packing {
	case packVarint:
		for _, r := range c.res {
			dst = appendUvarint(dst, r)
		}
	case packPlanes:
		planes := (c.width + 7) / 8
		dst = append(dst, byte(planes))
		for p := range planes {
			dst = slices.Grow(dst, len(c.res))
			plane := dst[len(dst) : len(dst)+len(c.res)]
			for i, r := range c.res {
				plane[i] = byte(r >> (8 * p))
			}
			dst = dst[:len(dst)+len(c.res)]
		}
	case packBits:
		dst = append(dst, byte(c.width))
		word, filled := uint64(0), 0
		for _, r := range c.res {
			word |= r << filled
			for filled += c.width; filled >= 8; filled -= 8 {
				dst = append(dst, byte(word))
				word >>= 8
			}
		}
		if filled > 0 {
			dst = append(dst, byte(word))
		}
	case packRuns:
		dst = packRunsOf(dst, c.res, c.runs)
	}
	return dst
}

func packRunsOf(dst []byte, res []uint64, runs int) []byte {
	dst = appendUvarint(dst, uint64(runs))
	dst = appendUvarint(dst, res[0])
	for i := 1; i < len(res); i++ {
		if res[i] != res[i-1] {
			dst = appendUvarint(dst, res[i])
		}
	}
	start := 0
	for i := 1; i < len(res); i++ {
		if res[i] != res[i-1] {
			dst = appendUvarint(dst, uint64(i-start-1))
			start = i
		}
	}
	return dst
}

// unpack fills dst with residuals.
func unpack(dst []int64, packing coding, p *payload) error {
	switch packing {
	case packZero:
		clear(dst)
		return nil
	case packVarint:
		for i := range dst {
			u, err := p.uvarint("a number for each row")
			if err != nil {
				return err
			}
			dst[i] = int64(u)
		}
		return nil
	case packPlanes:
		return unpackPlanes(dst, p)
	case packBits:
		return unpackBits(dst, p)
	case packRuns:
		return unpackRuns(dst, p)
	}
	return columnError("a known packing")
}

func unpackPlanes(dst []int64, p *payload) error {
	width, err := p.byte("a width")
	if err != nil {
		return err
	}
	if width < 1 || width > 8 {
		return columnError("1 to 8 byte planes")
	}
	clear(dst)
	for plane := range int(width) {
		data, err := p.take(len(dst), "a byte for each row")
		if err != nil {
			return err
		}
		for i, b := range data {
			dst[i] |= int64(b) << (8 * plane)
		}
	}
	return nil
}

func unpackBits(dst []int64, p *payload) error {
	b, err := p.byte("a width")
	if err != nil {
		return err
	}
	width := int(b)
	if width < 1 || width > maxBits {
		return columnError("1 to 56 bits")
	}
	data, err := p.take((len(dst)*width+7)/8, "bits for each row")
	if err != nil {
		return err
	}
	word, filled, next := uint64(0), 0, 0
	for i := range dst {
		for ; filled < width; filled += 8 {
			word |= uint64(data[next]) << filled
			next++
		}
		dst[i] = int64(word & (1<<width - 1))
		word >>= width
		filled -= width
	}
	if word != 0 {
		return columnError("zeros after the last bit")
	}
	return nil
}

func unpackRuns(dst []int64, p *payload) error {
	count, err := p.uvarint("a number of runs")
	if err != nil {
		return err
	}
	if count < 1 || count > uint64(len(dst)) {
		return columnError("1 run to one for each row")
	}
	runs := dst[len(dst)-int(count):] // values wait at the end and are overwritten from the front
	for i := range runs {
		u, err := p.uvarint("a value for each run")
		if err != nil {
			return err
		}
		runs[i] = int64(u)
	}
	at := 0
	for i, value := range runs {
		length := len(dst) - at
		if i < len(runs)-1 {
			u, err := p.uvarint("a length for each run")
			if err != nil {
				return err
			}
			if u >= uint64(length-(len(runs)-1-i)) {
				return columnError("runs as long as the batch")
			}
			length = int(u) + 1
		}
		for end := at + length; at < end; at++ {
			dst[at] = value
		}
	}
	return nil
}
