package ledger

import (
	"slices"
	"strings"

	"telltale.dev/protocol"
)

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
	Crossed  uint64 `json:"crossed,omitempty"` // stored in both streams: a vehicle changed a message's priority
}

// Accounts gives the accounts of one vehicle, or of all when vid is empty,
// ordered by vehicle, device and boot. The slices are copies.
func (l *Ledger) Accounts(vid protocol.VehicleID) []Account {
	boots := l.copies(vid)
	out := make([]Account, len(boots))
	for i, b := range boots { // without the lock: the processor goes on meanwhile
		out[i] = Account{Vehicle: b.device.vehicle.id, Device: b.device.id, Boot: b.id, Counts: b.counts, Settled: b.settled}
		out[i].fill(b.sets)
	}
	slices.SortFunc(out, compareAccounts)
	return out
}

// copies gives copies of boots.
func (l *Ledger) copies(vid protocol.VehicleID) (out []*boot) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for id, v := range l.vehicles {
		if vid != "" && id != vid {
			continue
		}
		for _, d := range v.devices {
			for e := range entries(d.frozen) {
				if d.live[e.id] == nil {
					out = append(out, d.decode(e))
				}
			}
			for _, b := range d.live {
				c := *b
				c.sets = sets{b.received.Clone(), b.evicted.Clone(), b.dead.Clone()}
				out = append(out, &c)
			}
		}
	}
	return out
}

// fill derives what is shown from the three sets, which it takes over.
func (a *Account) fill(s sets) {
	stayed := s.evicted.Clone()
	s.evicted.RemoveAll(s.received)
	stayed.RemoveAll(s.evicted)
	s.dead.RemoveAll(s.received)
	known := s.received.Clone()
	known.AddAll(s.evicted)
	known.AddAll(s.dead)
	gaps := known.Missing(a.Settled + 1)
	a.Highest = max(known.Max(), a.Settled)
	a.Received, a.Evicted, a.Stayed, a.Buried, a.Gaps = s.received.Spans(), s.evicted.Spans(), stayed.Spans(), s.dead.Spans(), gaps.Spans()
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

// Merge joins the accounts of the streams: what is stored in one is no gap of the
// other. The result is ordered like Accounts.
func Merge(lists ...[]Account) []Account {
	all := slices.Concat(lists...)
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
	settled := max(a.Settled, b.Settled)
	join := func(x, y []Span) Ranges {
		r := rangesOf(x)
		r.AddAll(rangesOf(y))
		r.Remove(Span{1, settled})
		return r
	}
	all := sets{join(a.Received, b.Received), join(a.Evicted, b.Evicted), join(a.Buried, b.Buried)}
	all.evicted.AddAll(join(a.Stayed, b.Stayed))
	crossed := combine(rangesOf(a.Received), rangesOf(b.Received), func(x, y uint64) uint64 { return x & y })
	a.Crossed += crossed.Count()
	a.Settled = settled
	a.Counts.add(b.Counts)
	a.fill(all)
}
