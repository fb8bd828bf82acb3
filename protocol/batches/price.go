package batches

import "math"

// fewRows is the number of residuals up to which varints are as good as anything.
const fewRows = 64

// A byte is priced between two extremes, since zstd has one Huffman table for
// up to 64 KiB of columns: by the entropy of its own column, and by a price that
// grows with its value, because small residuals are common in all columns. The
// weight was found with the recordings in simulator/recordings.
const (
	ownWeight   = 0.6 // of the column's own entropy
	zeroPrice   = 2   // bits of a zero in the common table; each doubling of value + 1 costs one more
	highPrice   = 8.5 // bits of the dearest byte
	tableLength = 2048
)

// prices estimates what residuals cost after zstd. The zero value is ready for use.
type prices struct {
	histogram [256]uint32
	common    [256]float32         // (1 − ownWeight) · price of a byte in the common table
	nlog      [tableLength]float32 // ownWeight · n · log2 n
	ready     bool
}

func (p *prices) prepare() {
	for b := range p.common {
		p.common[b] = float32((1 - ownWeight) * min(highPrice, zeroPrice+math.Log2(float64(b+1))))
	}
	for n := 2; n < tableLength; n++ {
		p.nlog[n] = ownWeight * float32(float64(n)*math.Log2(float64(n)))
	}
	p.ready = true
}

// packing gives the packing of the lowest estimated cost in bytes.
func (p *prices) packing(res []uint64, width int) (best coding, cost float32) {
	switch {
	case width == 0:
		return packZero, 0
	case len(res) <= fewRows:
		return packVarint, p.varints(res)
	}
	best, cost = packPlanes, 1+p.planes(res, width)
	if bits := float32(1 + (len(res)*width+7)/8); width <= maxBits && bits < cost {
		best, cost = packBits, bits
	}
	if runs := countRuns(res); runs < len(res)/3 && float32(2+runs) < cost {
		best, cost = packRuns, float32(2+runs)
	}
	return best, cost
}

// varints prices few residuals: one byte each by that byte, longer ones by their length.
func (p *prices) varints(res []uint64) float32 {
	n := 0
	for _, r := range res {
		n += uvarintLen(r)
	}
	if n > len(res)+len(res)/2 {
		return float32(n)
	}
	return p.plane(res, 0, 256)
}

func (p *prices) planes(res []uint64, width int) (cost float32) {
	for shift := 0; shift < width; shift += 8 {
		cost += p.plane(res, shift, 1<<min(width-shift, 8))
	}
	return cost
}

// plane prices the bytes of the residuals at a shift, which are all below limit.
func (p *prices) plane(res []uint64, shift, limit int) float32 {
	if !p.ready {
		p.prepare()
	}
	limit = max(limit, 4)
	clear(p.histogram[:limit])
	for _, r := range res {
		p.histogram[byte(r>>shift)]++
	}
	bits := p.nlogn(uint32(len(res)))
	for b := 0; b < limit; b += 4 {
		four := (*[4]uint32)(p.histogram[b:])
		if four[0]|four[1]|four[2]|four[3] == 0 { // most are
			continue
		}
		for i, n := range four {
			if n > 0 {
				bits += float32(n)*p.common[b+i] - p.nlogn(n)
			}
		}
	}
	return bits / 8
}

// nlogn is ownWeight · n · log2 n.
func (p *prices) nlogn(n uint32) float32 {
	if n < tableLength {
		return p.nlog[n]
	}
	return ownWeight * float32(float64(n)*math.Log2(float64(n)))
}
