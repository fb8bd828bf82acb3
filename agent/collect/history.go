package collect

import "slices"

// Bounds of the history, for the vehicle: all rules share it. When they are
// reached the oldest rows go, so that captures begin later than their rules say.
const (
	chunkValues = 8192 // raw values of a chunk: 64 KiB
	chunkRows   = 2048
	maxChunks   = 64 // 4 MiB of values, and 3 MiB of what says where they belong
)

// history keeps the newest rows, in the order in which they came, for captures
// that begin before their moment. It belongs to no rule: rows stay when a rule
// is replaced by another one that wants the past, too. It keeps nothing while
// no rule does. Memory is used again; a steady stream allocates nothing.
type history struct {
	depth  int64 // how far back the rules want to see, µs; 0: nothing is kept
	chunks []*chunk
	free   []*chunk
	newest int64 // time of the newest row, µs
	gone   uint64
}

// chunk is a run of rows; it is forgotten as a whole.
type chunk struct {
	newest int64 // time of its newest row, µs
	rows   []pastRow
	raw    []int64
}

// pastRow is a row of a group of the catalogue. Its values are raw[offset:offset+count] of its chunk.
type pastRow struct {
	time          int64
	group         int32
	offset, count int32
}

// keep sets how far back rows are kept. Rows that are there stay as far as that.
func (h *history) keep(depth int64) {
	h.depth = depth
	if depth == 0 {
		*h = history{gone: h.gone}
	}
}

// clear forgets all rows: they mean nothing any more.
func (h *history) clear() {
	h.free, h.chunks = append(h.free, h.chunks...), h.chunks[:0]
	h.newest = 0
}

// add keeps a row. A time that is far before the newest row's begins anew, for the clock was set back.
func (h *history) add(group int32, t int64, raw []int64) {
	if len(h.chunks) > 0 && t < h.newest-busSkew {
		h.clear()
	}
	h.newest = max(h.newest, t)
	h.forget()
	c := h.room(len(raw))
	c.newest = max(c.newest, t)
	c.rows = append(c.rows, pastRow{time: t, group: group, offset: int32(len(c.raw)), count: int32(len(raw))})
	c.raw = append(c.raw, raw...)
}

// forget drops the chunks that are too old for every rule.
func (h *history) forget() {
	for len(h.chunks) > 1 && h.chunks[0].newest < h.newest-h.depth-busSkew {
		h.drop()
	}
}

// drop gives up the oldest chunk.
func (h *history) drop() {
	h.free = append(h.free, h.chunks[0])
	h.chunks = slices.Delete(h.chunks, 0, 1)
}

// room gives a chunk that n more values fit into.
func (h *history) room(n int) *chunk {
	if k := len(h.chunks); k > 0 {
		if c := h.chunks[k-1]; len(c.rows) < chunkRows && len(c.raw)+n <= max(chunkValues, n) {
			return c
		}
	}
	if len(h.chunks) >= maxChunks {
		h.gone += uint64(len(h.chunks[0].rows))
		h.drop()
	}
	var c *chunk
	if k := len(h.free); k > 0 {
		c, h.free = h.free[k-1], h.free[:k-1]
		c.rows, c.raw, c.newest = c.rows[:0], c.raw[:0], 0
	} else {
		c = &chunk{rows: make([]pastRow, 0, chunkRows), raw: make([]int64, 0, chunkValues)}
	}
	h.chunks = append(h.chunks, c)
	return c
}

// each gives the rows from a time on, in the order in which they came. The values are not to be kept.
func (h *history) each(from int64, give func(group int32, t int64, raw []int64)) {
	for _, c := range h.chunks {
		if c.newest < from {
			continue
		}
		for i := range c.rows {
			if r := &c.rows[i]; r.time >= from {
				give(r.group, r.time, c.raw[r.offset:r.offset+r.count])
			}
		}
	}
}
