package state

import "container/heap"

// Bounds of the histories, in bytes of memory of their points, pointBytes each. A vehicle that reaches its
// own bound pays for it alone: all its histories are coarsened. When all together reach theirs, the vehicle with
// the most pays, until there is room: so each has at least about half of its equal share, whatever others invent.
// 512 MiB are 135 of the busiest cars we know with a whole day of 370 signals, or 52 KiB for each of 10,000 vehicles.
const (
	MaxHistory   = 4 << 20   // of one vehicle
	MaxHistories = 512 << 20 // of all vehicles

	pointBytes = 16
)

// bounds are MaxHistory and MaxHistories, but in tests.
type bounds struct{ vehicle, all int }

// charge counts the points that a history has more than before, or less.
func (s *States) charge(v *vehicle, points int) {
	v.charged += points * pointBytes
	s.stats.HistoryBytes += points * pointBytes
}

// settle makes room after a vehicle's histories have grown. The caller holds mu.
func (s *States) settle(v *vehicle) {
	for v.charged > s.bounds.vehicle && v.level < lastLevel {
		s.coarsen(v)
	}
	if v.level > 0 && v.charged < s.bounds.vehicle/4 && s.stats.HistoryBytes < s.bounds.all/2 {
		v.level-- // there is room again: what comes is kept finer
	}
	heap.Fix(&s.rich, v.place)
	for s.stats.HistoryBytes > s.bounds.all && s.rich[0].charged > 0 {
		s.coarsen(s.rich[0])
		heap.Fix(&s.rich, 0)
	}
}

// coarsen doubles the steps of a vehicle's histories.
func (s *States) coarsen(v *vehicle) {
	v.level++
	for _, sig := range v.signals {
		had := cap(sig.history.points)
		sig.history.thin(v.level)
		s.charge(v, cap(sig.history.points)-had)
	}
}

// richest has the vehicle with the most bytes of histories first. It implements heap.Interface.
type richest []*vehicle

func (h richest) Len() int           { return len(h) }
func (h richest) Less(i, j int) bool { return h[i].charged > h[j].charged }

func (h richest) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *richest) Push(x any) {
	v := x.(*vehicle)
	v.place = len(*h)
	*h = append(*h, v)
}

// Pop implements heap.Interface.
func (h *richest) Pop() any {
	last := len(*h) - 1
	v := (*h)[last]
	(*h)[last], *h = nil, (*h)[:last]
	return v
}
