// Package ledger accounts for the messages of one stream: which of each device and start
// are stored, were declared evicted by the vehicle, wait among the dead letters, or are missing.
//
// # What is kept
//
// A Ledger holds all of it in memory. Boots that nothing was heard of for a while are frozen: kept
// as the bytes that a snapshot has of them, some 30 for a start that lost nothing. What the
// commits keep is a chain: a snapshot, and for each commit after it a cut, which holds what came since the
// one before. Restore reads a chain, Fold joins one to a snapshot. So a commit costs what was heard since the
// one before, however much is remembered.
//
// # What a vehicle may cost
//
// Bounds are per vehicle, and it alone pays when it reaches them: its oldest starts and sequences are
// forgotten, and what comes of them later is refused as too old, or taken for new where the start is unknown.
//
//	starts of a device   MaxBoots
//	starts of a vehicle  MaxVehicleBoots, over all its devices
//	sets of a vehicle    MaxWords words of 16 bytes: a word for 64 sequences in order or alternating, for each one at random
//
// In memory that is 4 MiB of words and 6 MiB of starts, with what slices and maps have in reserve 24 MiB at most; on disk
// 5 MiB in a snapshot, and in a cut what came of the vehicle since the one before, 5 MiB at most. The quota in front of the stream
// lets a vehicle add 200 messages a second. A message costs a search in what is kept and, when it comes out of order, the moving of
// the words behind its own; a list of declared ranges costs one pass over the words of each start that it names; a start
// that was frozen costs a pass over the device's bytes once between two cuts.
//
// It knows message ids and nothing of what messages hold, of streams or of files: cloud/ingest
// feeds it, and keeps what it wrote with each commit of the lake.
package ledger

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"telltale.dev/protocol"
)

// Verdict is what the ledger says about an id before anything is done with its message.
type Verdict uint8

// The verdicts.
const (
	Unseen    Verdict = iota // not stored yet
	Duplicate                // stored already
	TooOld                   // below what is remembered: nobody knows
)

// Receipt is what the ledger notes about a message that is stored.
type Receipt struct {
	Sequence uint64              // of the stream
	Bytes    int                 // of the payload
	Batch    bool                // a telemetry batch, not a message of another kind
	Samples  uint64              // in the batch
	Dropped  uint64              // frames lost on the bus, as the batch declares
	Evicted  []protocol.SeqRange // declared by the batch: dropped on the vehicle, will never come
}

// Ledger says of every message of every device whether it is stored, was
// declared evicted by the vehicle, waits among the dead letters, or is missing.
//
// It is a projection of one stream: fed the same messages in the same order it
// holds the same, which is what makes a checkpoint of it worth keeping. As a
// vehicle numbers its messages over both streams at once, the ledger of one stream has gaps that the
// other stream fills; Merge joins the accounts of both. A ledger is never shared between streams: one
// would take a message for stored whose rows the other has not committed.
//
// Its methods may be called concurrently; only the Processor writes.
type Ledger struct {
	mu       sync.RWMutex // guards all below
	vehicles map[protocol.VehicleID]*vehicle
	awake    map[*device]struct{} // those with boots that are not frozen

	bounds Bounds
}

// New returns an empty ledger.
func New(bounds Bounds) *Ledger {
	return &Ledger{vehicles: make(map[protocol.VehicleID]*vehicle), awake: make(map[*device]struct{}), bounds: bounds.orDefault()}
}

// Check says what the ledger knows about id.
func (l *Ledger) Check(vid protocol.VehicleID, id protocol.MessageID) Verdict {
	l.mu.RLock()
	defer l.mu.RUnlock()
	d := l.vehicles[vid].device(id.Device)
	if d == nil {
		return Unseen
	}
	b := d.live[id.Boot]
	if b == nil {
		b = d.thaw(id.Boot)
	}
	switch {
	case b == nil:
		return Unseen
	case id.Seq <= b.settled:
		return TooOld
	case b.received.Has(id.Seq):
		return Duplicate
	}
	return Unseen
}

// Receive notes that the message is stored. The caller has asked Check and got Unseen.
func (l *Ledger) Receive(vid protocol.VehicleID, id protocol.MessageID, r Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.device(vid, id.Device)
	b := l.open(d, id.Boot, r.Sequence)
	one := Span{id.Seq, id.Seq}
	b.change(func() {
		b.received.Add(one)
		b.dead.Remove(one)
	})
	b.fresh.received.Add(one)
	b.counts.Stored++
	b.counts.Bytes += uint64(r.Bytes)
	b.counts.Samples += r.Samples
	b.counts.Dropped += r.Dropped
	if r.Batch {
		b.counts.Batches++
	}
	l.evict(d, r)
	l.settle(d.vehicle)
}

// evict notes the ranges that a message declares, those of each boot at once: what a batch
// costs does not depend on how it orders or divides them.
func (l *Ledger) evict(d *device, r Receipt) {
	list := slices.Clone(r.Evicted)
	slices.SortFunc(list, func(x, y protocol.SeqRange) int {
		if c := slices.Compare(x.Boot[:], y.Boot[:]); c != 0 {
			return c
		}
		return cmp.Compare(x.From, y.From)
	})
	for len(list) > 0 {
		b := l.open(d, list[0].Boot, r.Sequence)
		var declared Ranges
		n := 0
		for ; n < len(list) && list[n].Boot == b.id; n++ {
			declared.Add(Span{max(list[n].From, b.settled+1), list[n].To})
		}
		list = list[n:]
		b.change(func() { b.evicted.AddAll(declared) })
		b.fresh.evicted.AddAll(declared)
	}
}

// Repeat notes that a stored message came again: by itself, or by a replay.
func (l *Ledger) Repeat(vid protocol.VehicleID, id protocol.MessageID, sequence uint64, replay bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.open(l.device(vid, id.Device), id.Boot, sequence)
	if replay {
		b.counts.Replayed++
	} else {
		b.counts.Duplicates++
	}
}

// Bury notes that the message went to the dead letters. That does not make it
// stored: when it is replayed and can be stored it is received as if it were new.
func (l *Ledger) Bury(vid protocol.VehicleID, id protocol.MessageID, sequence uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.device(vid, id.Device)
	b := l.open(d, id.Boot, sequence)
	b.counts.Dead++
	if id.Seq > b.settled && !b.received.Has(id.Seq) {
		one := Span{id.Seq, id.Seq}
		b.change(func() { b.dead.Add(one) })
		b.fresh.dead.Add(one)
	}
	l.settle(d.vehicle)
}

// device finds or makes a device.
func (l *Ledger) device(vid protocol.VehicleID, did protocol.DeviceID) *device {
	v := l.vehicles[vid]
	if v == nil {
		v = &vehicle{id: vid}
		l.vehicles[vid] = v
	}
	if d := v.device(did); d != nil {
		return d
	}
	d := &device{vehicle: v, id: did}
	at, _ := slices.BinarySearchFunc(v.devices, did, compareDevice)
	v.devices = slices.Insert(v.devices, at, d)
	return d
}

// open finds or makes a boot, marks it as heard at sequence, and as changed.
func (l *Ledger) open(d *device, id protocol.BootID, sequence uint64) *boot {
	b := d.live[id]
	if b == nil {
		if b = d.thaw(id); b == nil {
			l.makeRoom(d)
			b = &boot{device: d, id: id}
			d.boots++
			d.vehicle.boots++
		}
		l.awake[d] = struct{}{}
		d.wake(b)
	}
	b.heard(sequence)
	b.mark()
	return b
}

// Vehicles are those that the ledger knows, in no order.
func (l *Ledger) Vehicles() []protocol.VehicleID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Collect(maps.Keys(l.vehicles))
}
