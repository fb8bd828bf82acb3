package ledger

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"

	"telltale.dev/protocol"
)

// vehicle has the devices of a vehicle, ordered by id: 64 at most, by the registry.
type vehicle struct {
	id      protocol.VehicleID
	devices []*device
	boots   int // of all devices
	words   int // of all their sets
}

func (v *vehicle) device(id protocol.DeviceID) *device {
	if v == nil {
		return nil
	}
	if i, ok := slices.BinarySearchFunc(v.devices, id, compareDevice); ok {
		return v.devices[i]
	}
	return nil
}

func compareDevice(d *device, id protocol.DeviceID) int { return cmp.Compare(d.id, id) }

// device has its boots in two ways: those that something was heard of lately are live,
// and all others are in frozen, as a snapshot has them. One that is live may be in frozen as
// it was before; the live one counts.
type device struct {
	vehicle *vehicle
	id      protocol.DeviceID
	live    map[protocol.BootID]*boot
	frozen  []byte // entries, ordered by id
	boots   int    // different ones in both

	dirty     bool              // something changed since the last cut
	forgotten []protocol.BootID // boots that cuts have, forgotten since the last one

	// oldest orders the boots by when they were heard of; nil until there are as many as may
	// be remembered. All boots are live while it is there.
	oldest bootHeap
}

// boot is the account of one start of one device.
//
//	1 … settled | settled+1 …
//	counts only | received ∪ evicted ∪ dead, the rest up to the highest: gaps
type boot struct {
	sets
	settled uint64 // below and at it only counts are kept
	touched uint64 // stream sequence of the last message about it
	counts  Counts

	device *device
	id     protocol.BootID
	place  int   // in device.oldest
	saved  bool  // a cut has it
	fresh  *sets // what was added since the last cut; nil: nothing changed
}

// sets are what is known of the sequences of a boot.
type sets struct {
	received Ranges
	evicted  Ranges // declared; a sequence that came nevertheless is in received too
	dead     Ranges // dead-lettered and never received
}

// all gives the sets in the order they are written.
func (s *sets) all() [3]*Ranges { return [...]*Ranges{&s.received, &s.evicted, &s.dead} }

// words is how many the sets have.
func (s *sets) words() int { return s.received.size() + s.evicted.size() + s.dead.size() }

// change changes the boot's sets by f and keeps the vehicle's number of words.
func (b *boot) change(f func()) {
	before := b.words()
	f()
	b.device.vehicle.words += b.words() - before
}

// mark makes the boot part of the next cut.
func (b *boot) mark() {
	if b.fresh == nil {
		b.fresh = &sets{}
		b.device.dirty = true
	}
}

// heard notes the last message about the boot.
func (b *boot) heard(sequence uint64) {
	if b.touched = sequence; b.device.oldest != nil {
		heap.Fix(&b.device.oldest, b.place)
	}
}

// wake makes a boot live that is not.
func (d *device) wake(b *boot) {
	if d.live == nil {
		d.live = make(map[protocol.BootID]*boot)
	}
	d.live[b.id] = b
	if d.oldest != nil {
		heap.Push(&d.oldest, b)
	}
}

// wakeAll makes all boots live.
func (d *device) wakeAll() {
	for e := range entries(d.frozen) {
		if d.live[e.id] == nil {
			d.wake(d.decode(e))
		}
	}
	d.frozen = nil
}

// freeze keeps all boots as bytes. Nothing must have changed since the last cut.
func (d *device) freeze() {
	if len(d.live) > 0 {
		d.frozen = slices.Clone(d.appendEntries(make([]byte, 0, len(d.frozen)+64*len(d.live))))
	}
	d.live, d.oldest = nil, nil
}

// appendEntries writes all boots, ordered by id.
func (d *device) appendEntries(out []byte) []byte {
	live := slices.SortedFunc(maps.Values(d.live), compareBoots)
	for e := range entries(d.frozen) {
		for len(live) > 0 && slices.Compare(live[0].id[:], e.id[:]) < 0 {
			out = live[0].append(out)
			live = live[1:]
		}
		if d.live[e.id] == nil {
			out = append(out, e.whole...)
		}
	}
	for _, b := range live {
		out = b.append(out)
	}
	return out
}

func compareBoots(x, y *boot) int { return slices.Compare(x.id[:], y.id[:]) }

// drop takes a live boot out, and says so in the next cut.
func (d *device) drop(b *boot) {
	d.vehicle.words -= b.words()
	d.vehicle.boots--
	d.boots--
	d.dirty = true
	if b.saved {
		d.forgotten = append(d.forgotten, b.id)
	}
	delete(d.live, b.id)
}

// bootHeap has the boot heard longest ago first.
type bootHeap []*boot

func (h bootHeap) Len() int { return len(h) }
func (h bootHeap) Less(i, j int) bool {
	if h[i].touched != h[j].touched {
		return h[i].touched < h[j].touched
	}
	return slices.Compare(h[i].id[:], h[j].id[:]) < 0
}

func (h bootHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *bootHeap) Push(x any) {
	b := x.(*boot)
	b.place = len(*h)
	*h = append(*h, b)
}

// Pop implements heap.Interface.
func (h *bootHeap) Pop() any {
	n := len(*h) - 1
	b := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	return b
}
