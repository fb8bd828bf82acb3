package dbc

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// selection is what a multiplexor selects from a value on, up to the start of the next selection.
type selection struct {
	start   uint64
	signals []int32 // of the message, rising
	key     string  // the same for equal signals, "" for none
}

// edge is a selector value where the choice of one signal changes.
type edge struct {
	at     uint64
	signal int32
	change int // +1 or −1: ranges that hold the signal
}

// cases cuts the values of a selector where the set of selected signals changes:
//
//	signal A  m0–1, m4    |████|    |  |██|
//	signal B  m1–3        |  |█|████|  |  |
//	selection             0  1 2    4  5
//
// The first selection starts at 0. It is false when the selections together are larger than a plan may be.
func (b *builder) cases(selector int32) ([]selection, bool) {
	if list, ok := b.selections[selector]; ok {
		return list, true
	}
	edges := b.edges(selector)
	list := []selection{{}}
	active := map[int32]int{}
	total := 0
	for i := 0; i < len(edges); {
		at := edges[i].at
		for ; i < len(edges) && edges[i].at == at; i++ {
			e := edges[i]
			if active[e.signal] += e.change; active[e.signal] == 0 {
				delete(active, e.signal)
			}
		}
		if total += 1 + len(active); total > maxReferences {
			return nil, false
		}
		now := selection{start: at, signals: make([]int32, 0, len(active))}
		for s := range active {
			now.signals = append(now.signals, s)
		}
		slices.Sort(now.signals)
		var key []byte
		for _, s := range now.signals {
			key = binary.AppendUvarint(key, uint64(s))
		}
		now.key = string(key)
		switch last := &list[len(list)-1]; {
		case at == 0:
			*last = now
		case last.key != now.key:
			list = append(list, now)
		}
	}
	b.selections[selector] = list
	return list, true
}

// edges gives where the signals of a selector come and go, rising.
func (b *builder) edges(selector int32) []edge {
	s := b.message.Signals[selector]
	top := highest(s)
	var edges []edge
	add := func(signal int32, low, high uint64) {
		if low > top {
			return // a value that the selector cannot have
		}
		edges = append(edges, edge{low, signal, 1})
		if high < top {
			edges = append(edges, edge{high + 1, signal, -1})
		}
	}
	for _, child := range b.children[selector] {
		for _, r := range b.message.Signals[child].Mux.Ranges {
			if r[0] < 0 && s.Signed { // negative values by their bits
				add(child, uint64(r[0])&top, uint64(min(r[1], -1))&top)
			}
			if r[1] >= 0 {
				add(child, uint64(max(r[0], 0)), uint64(r[1]))
			}
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	return edges
}

// highest gives the largest value that the bits of a signal can have.
func highest(s *Signal) uint64 { return 1<<s.Length - 1 }
