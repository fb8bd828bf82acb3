package state

import "container/heap"

// mayChart says whether one more signal of v may have a history. When all are given away,
// the vehicle with the most gives its newest one up to a vehicle that has fewer: so nobody
// can use up the histories of all, and each has at least its equal share. The caller holds mu.
func (s *States) mayChart(v *vehicle) bool {
	if s.stats.Series < MaxSeries {
		s.stats.Series++
		return true
	}
	rich := s.series[0]
	if len(rich.series) <= len(v.series)+1 {
		return false
	}
	n := len(rich.series) - 1
	rich.series[n].history = nil
	rich.series[n] = nil
	rich.series = rich.series[:n]
	heap.Fix(&s.series, rich.place)
	return true
}

// seriesHeap has the vehicle with the most histories first.
type seriesHeap []*vehicle

func (h seriesHeap) Len() int           { return len(h) }
func (h seriesHeap) Less(i, j int) bool { return len(h[i].series) > len(h[j].series) }

func (h seriesHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *seriesHeap) Push(x any) {
	v := x.(*vehicle)
	v.place = len(*h)
	*h = append(*h, v)
}

// Pop implements heap.Interface.
func (h *seriesHeap) Pop() any {
	last := len(*h) - 1
	v := (*h)[last]
	(*h)[last], *h = nil, (*h)[:last]
	return v
}
