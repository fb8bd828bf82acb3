package ledger

import (
	"cmp"
	"encoding/binary"
	"slices"

	"telltale.dev/protocol"
)

// Cut writes what came since the cut before, or since Restore, and takes it for good: what comes later belongs to the
// next cut. It must be kept, behind those before it, or the ledger given up. Devices of which nothing came are frozen.
func (l *Ledger) Cut() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var dirty []*device
	for d := range l.awake {
		if d.dirty {
			dirty = append(dirty, d)
			continue
		}
		d.freeze()
		delete(l.awake, d)
	}
	slices.SortFunc(dirty, compareDevices)
	out := binary.AppendUvarint([]byte{versionCut}, uint64(len(dirty)))
	for _, d := range dirty {
		out = d.appendCut(out)
		for _, b := range d.live {
			b.fresh, b.saved = nil, true
		}
		d.dirty, d.forgotten = false, nil
	}
	return out
}

func compareDevices(x, y *device) int {
	return cmp.Or(cmp.Compare(x.vehicle.id, y.vehicle.id), cmp.Compare(x.id, y.id))
}

func (d *device) appendCut(out []byte) []byte {
	out = appendString(out, string(d.vehicle.id))
	out = appendString(out, string(d.id))
	out = binary.AppendUvarint(out, uint64(len(d.forgotten)))
	for _, id := range slices.SortedFunc(slices.Values(d.forgotten), func(x, y protocol.BootID) int { return slices.Compare(x[:], y[:]) }) {
		out = append(out, id[:]...)
	}
	var changed []*boot
	for _, b := range d.live {
		if b.fresh != nil {
			changed = append(changed, b)
		}
	}
	slices.SortFunc(changed, compareBoots)
	out = binary.AppendUvarint(out, uint64(len(changed)))
	for _, b := range changed {
		out = append(out, b.id[:]...)
		out = b.appendBody(out, b.fresh)
	}
	return out
}

// Restore replaces what the ledger holds with what a chain says: a snapshot, and cuts after it in their order. A
// chain may begin with a cut, and no bytes change nothing. The error wraps ErrSnapshot and leaves the ledger as it was.
func (l *Ledger) Restore(links ...[]byte) error {
	into := New(l.bounds)
	for _, link := range links {
		if len(link) == 0 {
			continue
		}
		r := &reader{rest: link[1:]}
		switch link[0] {
		case versionRuns:
			into = New(l.bounds)
			r.devices(into, r.runs)
		case versionSnapshot:
			into = New(l.bounds)
			r.devices(into, r.frozen)
		case versionCut:
			r.devices(into, r.cut)
		default:
			r.fail("expected version 1, 4 or 5")
		}
		if r.err == nil && len(r.rest) > 0 {
			r.fail("bytes after the end")
		}
		if r.err != nil {
			return r.err
		}
	}
	for d := range into.awake {
		d.dirty, d.forgotten = false, nil
		d.freeze()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vehicles, l.awake = into.vehicles, make(map[*device]struct{})
	return nil
}

// Fold joins a chain to one snapshot. The error wraps ErrSnapshot.
func Fold(links ...[]byte) ([]byte, error) {
	l := New(Bounds{})
	if err := l.Restore(links...); err != nil {
		return nil, err
	}
	return l.Snapshot(), nil
}

// devices reads devices in order, each of them by body.
func (r *reader) devices(into *Ledger, body func(*device)) {
	var last *device
	for n := r.number(); n > 0 && r.err == nil; n-- {
		vid, e1 := protocol.ParseVehicleID(string(r.take(r.number())))
		did, e2 := protocol.ParseDeviceID(string(r.take(r.number())))
		if e1 != nil || e2 != nil {
			r.fail("expected a vehicle and a device")
			return
		}
		d := into.device(vid, did)
		if last != nil && compareDevices(last, d) >= 0 {
			r.fail("expected devices in order")
			return
		}
		last = d
		into.awake[d] = struct{}{}
		body(d)
	}
}

// bootIDs reads ids in order.
func (r *reader) bootIDs(each func(protocol.BootID)) {
	var last protocol.BootID
	for i, n := uint64(0), r.number(); i < n && r.err == nil; i++ {
		var id protocol.BootID
		copy(id[:], r.take(uint64(len(id))))
		if i > 0 && slices.Compare(id[:], last[:]) <= 0 {
			r.fail("expected boots in order")
			return
		}
		last = id
		each(id)
	}
}

// frozen reads a device of a snapshot, and holds its entries against their form without keeping any of them apart.
func (r *reader) frozen(d *device) {
	boots := r.number()
	entries := &reader{rest: r.take(r.number())}
	d.frozen = slices.Clone(entries.rest)
	scratch := &boot{}
	var last protocol.BootID
	for ; len(entries.rest) > 0; d.boots++ {
		var id protocol.BootID
		copy(id[:], entries.take(uint64(len(id))))
		body := entries.take(entries.number())
		one := reader{rest: body, again: entries.again}
		one.boot(scratch)
		entries.again = one.again
		if entries.err != nil || one.err != nil || len(one.rest) > 0 || d.boots > 0 && slices.Compare(id[:], last[:]) <= 0 {
			r.fail("expected boots in order")
			return
		}
		last = id
		d.vehicle.words += scratch.words()
	}
	d.vehicle.boots += d.boots
	if uint64(d.boots) != boots || boots == 0 {
		r.fail("expected as many boots as announced")
	}
}

// cut reads a device of a cut.
func (r *reader) cut(d *device) {
	first := true
	r.bootIDs(func(id protocol.BootID) {
		if first { // rare, so that it need not be cheap
			d.wakeAll()
		}
		first = false
		if b := d.live[id]; b != nil {
			d.drop(b)
		}
	})
	r.bootIDs(func(id protocol.BootID) {
		b := d.live[id]
		if b == nil {
			if b = d.thaw(id); b == nil {
				b = &boot{device: d, id: id}
				d.boots++
				d.vehicle.boots++
			}
			d.wake(b)
		}
		for _, n := range b.numbers() {
			*n = r.number()
		}
		var fresh sets
		for _, set := range fresh.all() {
			r.ranges(set)
		}
		b.change(func() {
			for i, set := range b.all() {
				set.AddAll(*fresh.all()[i])
			}
			b.dead.RemoveAll(fresh.received)
			b.cut(b.settled)
		})
	})
}

// runs reads a device of version 1.
func (r *reader) runs(d *device) {
	r.bootIDs(func(id protocol.BootID) {
		b := &boot{device: d, id: id}
		for _, n := range b.numbers() {
			*n = r.number()
		}
		for _, set := range b.all() {
			r.runsOf(set)
		}
		d.boots++
		d.vehicle.boots++
		d.vehicle.words += b.words()
		d.wake(b)
	})
}
