package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"telltale.dev/protocol"
)

// ErrSnapshot is wrapped by every error about a ledger snapshot that cannot be read.
var ErrSnapshot = errors.New("invalid ledger snapshot")

// snapshotVersion is the first byte of a snapshot.
//
//	1: devices, each with its boots, each with three sets and eight counts
const snapshotVersion = 1

// Snapshot writes the ledger in few bytes; the same ledger always gives the same bytes.
//
//	version, devices × (vid, did, boots × (id, settled, touched, counts, received, evicted, dead))
//
// Numbers are unsigned varints, strings have their length in front, and a set is
// its number of runs, then for each the distance from the end of the one before
// and its length.
func (l *Ledger) Snapshot() []byte {
	l.mu.RLock()
	defer l.mu.RUnlock()
	keys := make([]deviceKey, 0, len(l.devices))
	for k := range l.devices {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b deviceKey) int {
		if c := strings.Compare(string(a.vehicle), string(b.vehicle)); c != 0 {
			return c
		}
		return strings.Compare(string(a.device), string(b.device))
	})
	out := binary.AppendUvarint([]byte{snapshotVersion}, uint64(len(keys)))
	for _, k := range keys {
		out = appendString(out, string(k.vehicle))
		out = appendString(out, string(k.device))
		out = l.devices[k].append(out)
	}
	return out
}

func (d *device) append(out []byte) []byte {
	ids := make([]protocol.BootID, 0, len(d.boots))
	for id := range d.boots {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b protocol.BootID) int { return slices.Compare(a[:], b[:]) })
	out = binary.AppendUvarint(out, uint64(len(ids)))
	for _, id := range ids {
		out = append(out, id[:]...)
		out = d.boots[id].append(out)
	}
	return out
}

func (b *boot) append(out []byte) []byte {
	for _, n := range b.numbers() {
		out = binary.AppendUvarint(out, *n)
	}
	for _, r := range [...]*Ranges{&b.received, &b.evicted, &b.dead} {
		out = r.AppendTo(out)
	}
	return out
}

// AppendTo appends a set in few bytes: its number of runs, then each.
func (r *Ranges) AppendTo(out []byte) []byte {
	out = binary.AppendUvarint(out, uint64(len(r.spans)))
	end := uint64(0)
	for _, s := range r.spans {
		out = binary.AppendUvarint(out, s.From-end)
		out = binary.AppendUvarint(out, s.To-s.From)
		end = s.To
	}
	return out
}

// numbers are the plain numbers of a boot in the order of the snapshot; append-only with the version.
func (b *boot) numbers() [10]*uint64 {
	c := &b.counts
	return [10]*uint64{&b.settled, &b.touched, &c.Stored, &c.Batches, &c.Samples, &c.Bytes,
		&c.Duplicates, &c.Replayed, &c.Dead, &c.Dropped}
}

func appendString(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

// Restore replaces what the ledger holds with a snapshot; no bytes mean an empty
// ledger. The error wraps ErrSnapshot and leaves the ledger as it was.
func (l *Ledger) Restore(snapshot []byte) error {
	devices := make(map[deviceKey]*device)
	if len(snapshot) > 0 {
		r := &snapshotReader{rest: snapshot}
		r.devices(devices)
		if r.err == nil && len(r.rest) > 0 {
			r.fail("bytes after the end")
		}
		if r.err != nil {
			return r.err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.devices = devices
	return nil
}

// snapshotReader reads what Snapshot writes; after the first error it returns zeros.
type snapshotReader struct {
	rest []byte
	err  error
}

func (r *snapshotReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s, %d bytes before the end: %w", what, len(r.rest), ErrSnapshot)
		r.rest = nil
	}
}

func (r *snapshotReader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.fail("cut short")
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *snapshotReader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		r.fail("expected a number")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *snapshotReader) devices(into map[deviceKey]*device) {
	if v := r.take(1); r.err != nil || v[0] != snapshotVersion {
		r.fail("expected version 1")
		return
	}
	var last deviceKey
	for n := r.number(); n > 0 && r.err == nil; n-- {
		vid, e1 := protocol.ParseVehicleID(string(r.take(r.number())))
		did, e2 := protocol.ParseDeviceID(string(r.take(r.number())))
		key := deviceKey{vid, did}
		if e1 != nil || e2 != nil || key.vehicle < last.vehicle ||
			key.vehicle == last.vehicle && key.device <= last.device {
			r.fail("expected devices in order")
			return
		}
		last = key
		into[key] = r.device()
	}
}

func (r *snapshotReader) device() *device {
	d := &device{boots: make(map[protocol.BootID]*boot)}
	var last protocol.BootID
	for n := r.number(); n > 0 && r.err == nil; n-- {
		var id protocol.BootID
		copy(id[:], r.take(uint64(len(id))))
		if len(d.boots) > 0 && slices.Compare(id[:], last[:]) <= 0 {
			r.fail("expected boots in order")
			return d
		}
		last = id
		b := &boot{id: id}
		for _, number := range b.numbers() {
			*number = r.number()
		}
		for _, set := range [...]*Ranges{&b.received, &b.evicted, &b.dead} {
			r.ranges(set)
		}
		d.boots[id] = b
		d.spans += b.spanCount()
	}
	return d
}

// ReadRanges reads what AppendTo wrote, and gives the bytes behind it. The error wraps ErrSnapshot.
func ReadRanges(data []byte) (out Ranges, rest []byte, err error) {
	r := &snapshotReader{rest: data}
	r.ranges(&out)
	return out, r.rest, r.err
}

func (r *snapshotReader) ranges(into *Ranges) {
	n := r.number()
	if n > uint64(len(r.rest))/2 { // a run takes two bytes at least
		r.fail("cut short")
		return
	}
	into.spans = make([]Span, 0, n)
	end := uint64(0)
	for range n {
		gap, length := r.number(), r.number()
		s := Span{From: end + gap, To: end + gap + length}
		if r.err != nil || gap == 0 || end > 0 && gap == 1 || s.From < end || s.To < s.From {
			r.fail("expected runs in order")
			return
		}
		into.spans = append(into.spans, s)
		end = s.To
	}
}
