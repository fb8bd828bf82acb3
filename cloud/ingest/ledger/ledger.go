// Package ledger accounts for the messages of one stream: which of each device and start
// are stored, were declared evicted by the vehicle, wait among the dead letters, or are missing.
//
// It knows message ids and nothing of what messages hold, of streams or of files: cloud/ingest
// feeds it, and keeps what it wrote with each commit of the lake.
package ledger

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"strings"
	"sync"

	"telltale.dev/protocol"
)

// Bounds of what the ledger remembers of one device, so that a device that
// misbehaves costs a few megabytes and nobody else anything.
const (
	// MaxBoots is how many starts of a device are remembered. Beyond it the one
	// heard longest ago is forgotten, and would be taken for new if it came back.
	MaxBoots = 4096
	// MaxSpans is how many runs of sequences a device may need over all its
	// boots: a day and a half of a message a second in each lane in turn. Beyond
	// it the older half of the boot with most runs is settled.
	MaxSpans = 1 << 17
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
// vehicle numbers over both lanes at once, a lane's own ledger has gaps that the
// other lane fills; Merge joins the accounts of both.
//
// Its methods may be called concurrently; only the Processor writes.
type Ledger struct {
	mu      sync.RWMutex // guards all below
	devices map[deviceKey]*device

	maxBoots, maxSpans int
}

type deviceKey struct {
	vehicle protocol.VehicleID
	device  protocol.DeviceID
}

type device struct {
	boots map[protocol.BootID]*boot
	spans int // over all boots
	// heard orders the boots by when they were heard of; nil until there are as many as may be remembered.
	heard bootHeap
}

// boot is the account of one start of one device.
//
//	1 … settled | settled+1 …
//	counts only | received ∪ evicted ∪ dead, the rest up to the highest: gaps
type boot struct {
	received Ranges
	evicted  Ranges // declared; a sequence that came nevertheless is in received too
	dead     Ranges // dead-lettered and never received
	settled  uint64 // below and at it only counts are kept
	touched  uint64 // stream sequence of the last message about it

	counts Counts

	id    protocol.BootID
	place int // in device.heard
}

// Counts adds up what became of the messages of one boot.
type Counts struct {
	Stored     uint64 `json:"stored"`     // messages, each once
	Batches    uint64 `json:"batches"`    // of them telemetry batches
	Samples    uint64 `json:"samples"`    // in those batches
	Bytes      uint64 `json:"bytes"`      // of their payloads
	Duplicates uint64 `json:"duplicates"` // came again, and were dropped
	Replayed   uint64 `json:"replayed"`   // came again by a replay, and were dropped
	Dead       uint64 `json:"dead"`       // dead letters written
	Dropped    uint64 `json:"dropped"`    // frames that the vehicle says its bus lost
}

func (c *Counts) add(o Counts) {
	c.Stored += o.Stored
	c.Batches += o.Batches
	c.Samples += o.Samples
	c.Bytes += o.Bytes
	c.Duplicates += o.Duplicates
	c.Replayed += o.Replayed
	c.Dead += o.Dead
	c.Dropped += o.Dropped
}

// New returns an empty ledger. Zero bounds mean MaxBoots and MaxSpans.
func New(maxBoots, maxSpans int) *Ledger {
	if maxBoots <= 0 {
		maxBoots = MaxBoots
	}
	if maxSpans <= 0 {
		maxSpans = MaxSpans
	}
	return &Ledger{devices: make(map[deviceKey]*device), maxBoots: maxBoots, maxSpans: maxSpans}
}

// Check says what the ledger knows about id.
func (l *Ledger) Check(vid protocol.VehicleID, id protocol.MessageID) Verdict {
	l.mu.RLock()
	defer l.mu.RUnlock()
	d := l.devices[deviceKey{vid, id.Device}]
	if d == nil {
		return Unseen
	}
	b := d.boots[id.Boot]
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
	d, b := l.open(vid, id, r.Sequence)
	one := Span{id.Seq, id.Seq}
	d.change(&b.received, one, (*Ranges).Add)
	d.change(&b.dead, one, (*Ranges).Remove)
	b.counts.Stored++
	b.counts.Bytes += uint64(r.Bytes)
	b.counts.Samples += r.Samples
	b.counts.Dropped += r.Dropped
	if r.Batch {
		b.counts.Batches++
	}
	l.evict(vid, id.Device, r)
	l.bound(d)
}

// evict notes the ranges that a message declares, those of each boot at once: what a batch
// costs does not depend on how it orders or cuts them.
func (l *Ledger) evict(vid protocol.VehicleID, did protocol.DeviceID, r Receipt) {
	list := slices.Clone(r.Evicted)
	slices.SortFunc(list, func(x, y protocol.SeqRange) int {
		if c := slices.Compare(x.Boot[:], y.Boot[:]); c != 0 {
			return c
		}
		return cmp.Compare(x.From, y.From)
	})
	for len(list) > 0 {
		d, b := l.open(vid, protocol.MessageID{Device: did, Boot: list[0].Boot}, r.Sequence)
		var declared Ranges
		n := 0
		for ; n < len(list) && list[n].Boot == b.id; n++ {
			if s := (Span{max(list[n].From, b.settled+1), list[n].To}); s.From <= s.To {
				declared.extend(s)
			}
		}
		list = list[n:]
		before := len(b.evicted.spans)
		b.evicted.AddAll(declared)
		d.spans += len(b.evicted.spans) - before
	}
}

// Repeat notes that a stored message came again: by itself, or by a replay.
func (l *Ledger) Repeat(vid protocol.VehicleID, id protocol.MessageID, sequence uint64, replay bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, b := l.open(vid, id, sequence)
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
	d, b := l.open(vid, id, sequence)
	b.counts.Dead++
	if id.Seq > b.settled && !b.received.Has(id.Seq) {
		d.change(&b.dead, Span{id.Seq, id.Seq}, (*Ranges).Add)
	}
	l.bound(d)
}

// open finds or makes the boot of id and marks it as heard at sequence.
func (l *Ledger) open(vid protocol.VehicleID, id protocol.MessageID, sequence uint64) (*device, *boot) {
	key := deviceKey{vid, id.Device}
	d := l.devices[key]
	if d == nil {
		d = &device{boots: make(map[protocol.BootID]*boot)}
		l.devices[key] = d
	}
	b := d.boots[id.Boot]
	if b == nil {
		if len(d.boots) >= l.maxBoots {
			d.forgetOldest()
		}
		b = &boot{id: id.Boot, touched: sequence}
		d.boots[id.Boot] = b
		if d.heard != nil {
			heap.Push(&d.heard, b)
		}
	}
	if b.touched = sequence; d.heard != nil {
		heap.Fix(&d.heard, b.place)
	}
	return d, b
}

// change applies f and keeps the device's number of runs.
func (d *device) change(r *Ranges, s Span, f func(*Ranges, Span)) {
	before := len(r.spans)
	f(r, s)
	d.spans += len(r.spans) - before
}

// forgetOldest drops the boot heard longest ago; ties go by boot id, so that
// every run over the same stream forgets the same.
func (d *device) forgetOldest() {
	if d.heard == nil {
		d.heard = make(bootHeap, 0, len(d.boots)+1)
		for _, b := range d.boots {
			heap.Push(&d.heard, b)
		}
	}
	b := heap.Pop(&d.heard).(*boot)
	d.spans -= b.spanCount()
	delete(d.boots, b.id)
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

func (b *boot) spanCount() int {
	return len(b.received.spans) + len(b.evicted.spans) + len(b.dead.spans)
}

// bound settles the older half of the device's largest boots when it has too many runs. It
// goes an eighth below the bound, so that looking at all boots is rare.
func (l *Ledger) bound(d *device) {
	if d.spans <= l.maxSpans {
		return
	}
	boots := slices.Collect(maps.Values(d.boots))
	for d.spans > l.maxSpans-l.maxSpans/8 {
		slices.SortFunc(boots, func(x, y *boot) int {
			if c := cmp.Compare(y.spanCount(), x.spanCount()); c != 0 {
				return c
			}
			return slices.Compare(x.id[:], y.id[:])
		})
		for _, b := range boots {
			if d.spans <= l.maxSpans-l.maxSpans/8 {
				break
			}
			before := b.spanCount()
			b.settle()
			d.spans += b.spanCount() - before
		}
	}
}

// settle forgets the older half of the longest of the boot's three sets, and
// what the other two hold up to there. The counts stay.
func (b *boot) settle() {
	sets := []*Ranges{&b.received, &b.evicted, &b.dead}
	slices.SortStableFunc(sets, func(x, y *Ranges) int { return len(y.spans) - len(x.spans) })
	b.settled = max(b.settled, sets[0].forget())
	for _, r := range sets {
		r.Remove(Span{1, b.settled})
	}
}

// Account is the ledger of one boot of one device.
type Account struct {
	Vehicle protocol.VehicleID `json:"vehicle"`
	Device  protocol.DeviceID  `json:"device"`
	Boot    protocol.BootID    `json:"boot"`
	Counts
	Highest  uint64 `json:"highest"`           // sequence heard of: stored, evicted or dead
	Settled  uint64 `json:"settled,omitempty"` // up to here only counts are kept
	Received []Span `json:"received"`          // stored
	Evicted  []Span `json:"evicted"`           // dropped on the vehicle by its own account, and not stored
	Stayed   []Span `json:"stayed"`            // evicted by the vehicle's account, and stored: the word that they are was lost on the way
	Buried   []Span `json:"buried"`            // among the dead letters, and not stored
	Gaps     []Span `json:"gaps"`              // none of these, up to Highest: on their way, or lost
	Crossed  uint64 `json:"crossed,omitempty"` // stored in both lanes: a vehicle changed a message's priority
}

// Accounts gives the accounts of one vehicle, or of all when vid is empty,
// ordered by vehicle, device and boot. The slices are copies.
func (l *Ledger) Accounts(vid protocol.VehicleID) []Account {
	out := l.copies(vid)
	for i := range out { // without the lock: the lane goes on meanwhile
		a := &out[i]
		a.fill(Ranges{a.Received}, Ranges{a.Evicted}, Ranges{a.Buried})
	}
	slices.SortFunc(out, compareAccounts)
	return out
}

// copies gives accounts with the three sets only.
func (l *Ledger) copies(vid protocol.VehicleID) (out []Account) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for key, d := range l.devices {
		if vid != "" && key.vehicle != vid {
			continue
		}
		for id, b := range d.boots {
			out = append(out, Account{
				Vehicle: key.vehicle, Device: key.device, Boot: id, Counts: b.counts, Settled: b.settled,
				Received: slices.Clone(b.received.spans), Evicted: slices.Clone(b.evicted.spans), Buried: slices.Clone(b.dead.spans),
			})
		}
	}
	return out
}

// Vehicles are those that the ledger knows, in no order.
func (l *Ledger) Vehicles() []protocol.VehicleID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	seen := make(map[protocol.VehicleID]bool)
	for key := range l.devices {
		seen[key.vehicle] = true
	}
	return slices.Collect(maps.Keys(seen))
}

// fill derives what is shown from the three sets, which it takes over.
func (a *Account) fill(received, evicted, dead Ranges) {
	stayed := evicted.Clone()
	evicted.RemoveAll(received)
	stayed.RemoveAll(evicted)
	dead.RemoveAll(received)
	known := received.Clone()
	known.AddAll(evicted)
	known.AddAll(dead)
	gaps := known.Missing(a.Settled + 1)
	a.Highest = max(known.Max(), a.Settled)
	a.Received, a.Evicted, a.Stayed, a.Buried, a.Gaps = received.spans, evicted.spans, stayed.spans, dead.spans, gaps.spans
}

func compareAccounts(a, b Account) int {
	if c := strings.Compare(string(a.Vehicle), string(b.Vehicle)); c != 0 {
		return c
	}
	if c := strings.Compare(string(a.Device), string(b.Device)); c != 0 {
		return c
	}
	return slices.Compare(a.Boot[:], b.Boot[:])
}

// Merge joins the accounts of the lanes: what is stored in one is no gap of the
// other. The result is ordered like Accounts.
func Merge(lanes ...[]Account) []Account {
	all := slices.Concat(lanes...)
	slices.SortStableFunc(all, compareAccounts)
	var out []Account
	for _, a := range all {
		if n := len(out); n > 0 && compareAccounts(out[n-1], a) == 0 {
			out[n-1].merge(a)
			continue
		}
		out = append(out, a)
	}
	return out
}

func (a *Account) merge(b Account) {
	join := func(x, y []Span) (r Ranges) {
		r.spans = slices.Clone(x)
		r.AddAll(Ranges{spans: y})
		r.Remove(Span{1, max(a.Settled, b.Settled)})
		return r
	}
	received, evicted, dead := join(a.Received, b.Received), join(a.Evicted, b.Evicted), join(a.Buried, b.Buried)
	evicted.AddAll(join(a.Stayed, b.Stayed))
	a.Crossed += overlap(Ranges{a.Received}, Ranges{b.Received})
	a.Settled = max(a.Settled, b.Settled)
	a.Counts.add(b.Counts)
	a.fill(received, evicted, dead)
}

// overlap is the number of members that both sets have.
func overlap(a, b Ranges) uint64 {
	union := a.Clone()
	union.AddAll(b)
	return a.Count() + b.Count() - union.Count()
}
