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

// price chooses the packing of the lowest estimated cost, and gives that cost in bytes, the bases included.
func (p *prices) price(c *choice) (cost float32) {
	switch {
	case c.width == 0:
		c.packing = packZero
	case len(c.res) <= fewRows:
		c.packing, cost = packVarint, p.varints(c.res)
	default:
		c.packing, cost = packPlanes, 1+p.planes(c.res, c.width)
		if packing, counted := c.counted(); counted < cost {
			c.packing, cost = packing, counted
		}
	}
	return cost + c.bases()
}

// bases is the cost of the bases in bytes.
func (c *choice) bases() (cost float32) {
	for _, b := range c.base {
		if b != 0 {
			cost += float32(uvarintLen(zigzag(b)))
		}
	}
	return cost
}

// counted gives the best of the packings whose cost in bytes is known without a histogram.
func (c *choice) counted() (best coding, cost float32) {
	best, cost = packBits, float32(1+(len(c.res)*c.width+7)/8)
	if c.width > maxBits {
		cost = math.MaxFloat32
	}
	if c.mayRun() && float32(2+c.runs) < cost {
		best, cost = packRuns, float32(2+c.runs)
	}
	return best, cost
}

// floor gives what the coding costs at least, in bytes, and whether it costs just that; then its packing is
// chosen, too.
func (c *choice) floor() (cost float32, exact bool) {
	if c.width == 0 {
		c.packing = packZero
		return c.bases(), true
	}
	least := 1 + float32(len(c.res)*((c.width+7)/8))*(1-ownWeight)*zeroPrice/8
	packing, cost := c.counted()
	if exact = cost < least; exact {
		c.packing = packing
	}
	return min(cost, least) + c.bases(), exact
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
