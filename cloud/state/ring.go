package state

import (
	"cmp"
	"slices"
)

// ring holds the newest points of a signal. Late points are taken in as long
// as they are newer than the oldest kept one.
type ring struct {
	points []Point // sorted by time
}

// wants says whether a point at t keeps its distance from the points around it.
func (r *ring) wants(t int64) bool {
	spacing := HistorySpacing.Microseconds()
	i, _ := slices.BinarySearchFunc(r.points, t, func(p Point, t int64) int { return cmp.Compare(p.Time, t) })
	if i > 0 && t-r.points[i-1].Time < spacing {
		return false
	}
	if i < len(r.points) && r.points[i].Time-t < spacing {
		return false
	}
	return i > 0 || len(r.points) < HistoryPoints
}

func (r *ring) add(p Point) {
	if len(r.points) == 2*HistoryPoints {
		r.points = append(r.points[:0], r.points[HistoryPoints:]...)
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
