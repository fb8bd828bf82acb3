package ledger

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
)

// What is remembered of a vehicle, unless Bounds say otherwise.
const (
	// MaxBoots is how many starts of a device are remembered. Beyond it the one
	// heard longest ago is forgotten, and would be taken for new if it came back.
	MaxBoots = 4096
	// MaxVehicleBoots is how many starts of all devices of a vehicle are remembered. Beyond
	// it the device with most of them forgets one.
	MaxVehicleBoots = 4 * MaxBoots
	// MaxWords is how many words the sets of a vehicle may need over all its devices and
	// starts: three months of a message a second in each stream in turn. Beyond it the older half
	// of the starts with most words is settled: only counts are kept of it.
	MaxWords = 1 << 18
)

// Bounds of what is remembered of one vehicle. Zero means the constant of that name.
type Bounds struct {
	Boots        int // MaxBoots
	VehicleBoots int // MaxVehicleBoots
	Words        int // MaxWords
}

func (b Bounds) orDefault() Bounds {
	if b.Boots <= 0 {
		b.Boots = MaxBoots
	}
	if b.VehicleBoots <= 0 {
		b.VehicleBoots = MaxVehicleBoots
	}
	if b.Words <= 0 {
		b.Words = MaxWords
	}
	return b
}

// makeRoom forgets a boot when one more would be too many: of the device, or of the vehicle's
// device that has most, the first of several.
func (l *Ledger) makeRoom(d *device) {
	switch {
	case d.boots >= l.bounds.Boots:
		l.forgetOldest(d)
	case d.vehicle.boots >= l.bounds.VehicleBoots:
		l.forgetOldest(slices.MaxFunc(d.vehicle.devices, func(x, y *device) int { return cmp.Compare(x.boots, y.boots) }))
	}
}

// forgetOldest drops the boot heard longest ago; ties go by boot id, so that
// every run over the same stream forgets the same.
func (l *Ledger) forgetOldest(d *device) {
	if d.oldest == nil {
		d.wakeAll()
		l.awake[d] = struct{}{}
		oldest := make(bootHeap, 0, len(d.live)+1)
		for _, b := range d.live {
			heap.Push(&oldest, b)
		}
		d.oldest = oldest
	}
	d.drop(heap.Pop(&d.oldest).(*boot))
}

// settle settles the older half of the vehicle's largest boots when it has too many words.
// It goes an eighth below the bound, so that looking at all boots is rare.
func (l *Ledger) settle(v *vehicle) {
	if v.words <= l.bounds.Words {
		return
	}
	var boots []*boot
	for _, d := range v.devices {
		d.wakeAll()
		l.awake[d] = struct{}{}
		boots = slices.AppendSeq(boots, maps.Values(d.live))
	}
	for enough := l.bounds.Words - l.bounds.Words/8; v.words > enough; {
		slices.SortFunc(boots, func(x, y *boot) int {
			return cmp.Or(cmp.Compare(y.words(), x.words()), cmp.Compare(x.device.id, y.device.id), compareBoots(x, y))
		})
		for _, b := range boots {
			if v.words <= enough {
				break
			}
			b.settle()
		}
	}
}

// settle forgets the older half of the longest of the boot's three sets, and
// what the other two hold up to there. The counts stay.
func (b *boot) settle() {
	b.mark()
	longest := &b.received
	for _, r := range b.all() {
		if r.size() > longest.size() {
			longest = r
		}
	}
	b.change(func() {
		b.settled = max(b.settled, longest.forget())
		b.sets.cut(b.settled)
	})
	b.fresh.cut(b.settled)
}

// cut removes the sequences up to settled, and settled itself, from the sets.
func (s *sets) cut(settled uint64) {
	for _, r := range s.all() {
		r.Remove(Span{1, settled})
	}
}
