package state

import (
	"slices"
	"sort"
	"time"
)

// HistorySpacing is the least time between two points of a history.
const HistorySpacing = time.Second

// tiers say which points of a signal are kept: the newest 300 as they came, before them one for each
// 30 s of source time as far as an hour, and before them one for each 15 minutes as far as a day. What is older is in the lake.
func tiers() [3]tier {
	return [...]tier{{HistorySpacing, 300}, {30 * time.Second, 120}, {15 * time.Minute, 96}}
}

// tier is a part of a history, with one point for each step of time.
type tier struct {
	step   time.Duration
	points int
}

// A history is coarsened when there is no room for it: each level doubles the steps and halves
// the points, so that it reaches back as far as before. At the last level no points are kept.
const lastLevel = 9

// history holds points of a signal. Late points are taken in, too. The zero value is empty.
type history struct {
	points []Point // ascending, each at least HistorySpacing after the one before
	limit  int     // the points are thinned once there are so many, and at least roomOf; 0: roomOf alone decides
	before int64   // µs; what is not newer was thinned away beyond the last tier
	saved  int64   // µs; of what is newer nothing is on disk
}

// spacing is the least time between two points, in µs.
func spacing(level int) int64 { return HistorySpacing.Microseconds() << level }

// due is the earliest time from t on at which a point keeps its distance to all
// others and is not too old to be kept.
func (h *history) due(t int64, spacing int64) int64 {
	n := len(h.points)
	if n == 0 {
		return max(t, h.before+1)
	}
	if end := h.points[n-1].Time + spacing; t >= end {
		return t
	} else if t >= h.points[n-1].Time {
		return end
	}
	i := sort.Search(n, func(i int) bool { return h.points[i].Time > t }) // i < n
	if i == 0 && t > h.before && h.points[0].Time-t >= spacing {
		return t
	}
	if i > 0 {
		t = max(t, h.points[i-1].Time+spacing)
	}
	for i == 0 || i < n && h.points[i].Time-t < spacing {
		t = h.points[i].Time + spacing
		i++
	}
	return t
}

// add takes a point whose time is due.
func (h *history) add(p Point, level int) {
	if level == lastLevel {
		return
	}
	if len(h.points) >= max(h.limit, roomOf(tiers()[0], level)) {
		h.thin(level)
	}
	i := len(h.points)
	for i > 0 && h.points[i-1].Time > p.Time {
		i--
	}
	h.points = slices.Insert(h.points, i, p)
	h.saved = min(h.saved, p.Time-1)
}

// roomOf is how many points may be there before the first thinning.
func roomOf(t tier, level int) int {
	n := max(1, t.points>>level)
	return n + n/4
}

// thin leaves out what the tiers do not keep.
func (h *history) thin(level int) {
	if level == lastLevel {
		h.points, h.limit = nil, 0
		return
	}
	kept := h.thinned(level)
	if n := len(kept); n > 0 && n == capacity(level) {
		h.before = max(h.before, kept[0].Time-1)
	}
	h.limit = len(kept) + max(1, len(kept)/4)
	h.points = append(make([]Point, 0, h.limit), kept...)
}

// capacity is how many points the tiers have.
func capacity(level int) (n int) {
	for i, t := range tiers() {
		n += t.points >> level
		if i == 0 {
			n = max(1, n)
		}
	}
	return n
}

// thinned gives what the tiers keep of the points, in new memory. Of each step of a tier, which
// are counted from 1970 on, it is the first point: so thinning again changes nothing.
func (h *history) thinned(level int) []Point {
	kept := make([]Point, 0, min(len(h.points), capacity(level)))
	at := len(h.points) - 1
	for i, t := range tiers() {
		step, points := t.step.Microseconds()<<level, t.points>>level
		if i == 0 {
			points = max(1, points)
		}
		last, begin := int64(-1), len(kept)
		for ; at >= 0; at-- {
			p := h.points[at]
			if p.Time/step == last {
				kept[len(kept)-1] = p
				continue
			}
			if len(kept)-begin == points {
				break
			}
			kept, last = append(kept, p), p.Time/step
		}
	}
	slices.Reverse(kept)
	return kept
}
