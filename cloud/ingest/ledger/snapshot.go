package ledger

import (
	"encoding/binary"
	"iter"
	"log/slog"
	"slices"

	"telltale.dev/protocol"
)

// The first byte of what a ledger writes. 2 and 3 begin what cloud/ingest puts in front of it.
//
//	1: a snapshot of an earlier version: devices, each with its boots, whose sets are runs only
//	4: a snapshot: number of devices × (vid, did, number of boots, length, entries)
//	5: a cut: number of devices × (vid, did, number × forgotten boot id, number × boot)
//
// Numbers are unsigned varints, strings have their length in front, devices and boots are in
// order. An entry is a boot id of 8 bytes, the length of what follows, and the boot; a boot is ten numbers and three sets.
// In a cut it has its id in front, its numbers are what they are by then, and its sets what it adds.
const (
	versionRuns     = 1
	versionSnapshot = 4
	versionCut      = 5
)

// Snapshot writes the ledger in few bytes; the same ledger always gives the same bytes.
func (l *Ledger) Snapshot() []byte {
	l.mu.Lock() // writing a set puts its words in order
	defer l.mu.Unlock()
	devices := l.devices()
	size := 16
	for _, d := range devices {
		size += len(d.vehicle.id) + len(d.id) + 16 + len(d.frozen) + 64*len(d.live)
	}
	out := binary.AppendUvarint(append(make([]byte, 0, size), versionSnapshot), uint64(len(devices)))
	for _, d := range devices {
		out = appendString(out, string(d.vehicle.id))
		out = appendString(out, string(d.id))
		out = binary.AppendUvarint(out, uint64(d.boots))
		all := d.frozen
		if len(d.live) > 0 {
			all = d.appendEntries(nil)
		}
		out = binary.AppendUvarint(out, uint64(len(all)))
		out = append(out, all...)
	}
	return out
}

// devices are those with boots, ordered by vehicle and id.
func (l *Ledger) devices() (out []*device) {
	for _, v := range l.vehicles {
		for _, d := range v.devices {
			if d.boots > 0 {
				out = append(out, d)
			}
		}
	}
	slices.SortFunc(out, compareDevices)
	return out
}

// append writes the boot's entry.
func (b *boot) append(out []byte) []byte {
	out = append(out, b.id[:]...)
	var scratch [256]byte
	body := b.appendBody(scratch[:0], &b.sets)
	out = binary.AppendUvarint(out, uint64(len(body)))
	return append(out, body...)
}

func (b *boot) appendBody(out []byte, sets *sets) []byte {
	for _, n := range b.numbers() {
		out = binary.AppendUvarint(out, *n)
	}
	for _, r := range sets.all() {
		out = r.AppendTo(out)
	}
	return out
}

// numbers are the plain numbers of a boot in the order they are written; append-only with the version.
func (b *boot) numbers() [10]*uint64 {
	c := &b.counts
	return [10]*uint64{&b.settled, &b.touched, &c.Stored, &c.Batches, &c.Samples, &c.Bytes,
		&c.Duplicates, &c.Replayed, &c.Dead, &c.Dropped}
}

func appendString(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

// entry is a frozen boot.
type entry struct {
	id    protocol.BootID
	whole []byte // with its id and length
	body  []byte
}

// entries gives the boots of a device's frozen bytes, which were written or found good before.
func entries(frozen []byte) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		for len(frozen) > 0 {
			var e entry
			start := copy(e.id[:], frozen)
			length, n := binary.Uvarint(frozen[start:])
			end := start + n + int(length)
			e.whole, e.body = frozen[:end], frozen[start+n:end]
			if !yield(e) {
				return
			}
			frozen = frozen[end:]
		}
	}
}

// thaw reads a boot from the frozen bytes; nil when it is not there. It changes nothing.
func (d *device) thaw(id protocol.BootID) *boot {
	for e := range entries(d.frozen) {
		if c := slices.Compare(e.id[:], id[:]); c == 0 {
			return d.decode(e)
		} else if c > 0 {
			break
		}
	}
	return nil
}

// decode reads a boot that was written by this process, or read and found good by Restore. Should it be damaged
// nevertheless, only what was known of this boot is lost: its messages are taken for new, and all others go on.
func (d *device) decode(e entry) *boot {
	b := &boot{device: d, id: e.id, saved: true}
	r := &reader{rest: e.body}
	r.boot(b)
	if r.err != nil || len(r.rest) > 0 {
		slog.Error("the ledger cannot read what it kept of a start, whose messages are taken for new", "err", r.err, "bytes_left", len(r.rest))
		return &boot{device: d, id: e.id, saved: true}
	}
	return b
}

// boot reads a boot, whose sets must be empty.
func (r *reader) boot(b *boot) {
	for _, n := range b.numbers() {
		*n = r.number()
	}
	for _, set := range b.all() {
		r.ranges(set)
	}
}
