package state

import (
	"slices"
	"sort"
)

// ringSlack is by how much a full history grows before its oldest points are cut off.
const ringSlack = HistoryPoints / 4

// ring holds the newest points of a signal. Late points are taken in as long as
// they are newer than the oldest kept one.
type ring struct {
	points []Point // ascending, each at least HistorySpacing after the one before
}

// due is the earliest time from t on at which a point keeps its distance to all
// others and is not too old to be kept.
func (r *ring) due(t int64) int64 {
	spacing := HistorySpacing.Microseconds()
	n := len(r.points)
	if n == 0 {
		return t
	}
	if end := r.points[n-1].Time + spacing; t >= end {
		return t
	} else if t >= r.points[n-1].Time {
		return end
	}
	i := sort.Search(n, func(i int) bool { return r.points[i].Time > t }) // i < n
	if i == 0 && n < HistoryPoints && r.points[0].Time-t >= spacing {
		return t
	}
	if i > 0 {
		t = max(t, r.points[i-1].Time+spacing)
	}
	for i == 0 || i < n && r.points[i].Time-t < spacing {
		t = r.points[i].Time + spacing
		i++
	}
	return t
}

// add takes a point whose time is due.
func (r *ring) add(p Point) {
	if len(r.points) == HistoryPoints+ringSlack {
		r.points = append(r.points[:0], r.points[ringSlack:]...)
	}
	i := len(r.points)
	for i > 0 && r.points[i-1].Time > p.Time {
		i--
	}
	r.points = slices.Insert(r.points, i, p)
}

func (r *ring) ordered() []Point {
	return slices.Clone(r.points[max(0, len(r.points)-HistoryPoints):])
}
