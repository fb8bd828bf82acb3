// Package state keeps the last known state of each vehicle by source time, a
// short history of each signal, and the presence of its devices.
//
// Late data never overwrites newer. The state is a projection: it is applied
// from the stream and snapshot to a store, so that a restart continues where
// the stream's consumer does. Long history is the lake's business.
package state

import (
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// Bounds of the history, per signal and in all.
const (
	HistoryPoints  = 300         // newest points of a signal
	HistorySpacing = time.Second // at most one point per spacing
	MaxSeries      = 100_000     // signals with a history, over all vehicles; others have only their last value
)

// Key names a signal of a vehicle.
type Key struct {
	Bus, Message, Signal string
}

// Value is the newest known value of a signal.
type Value struct {
	Key
	Time  int64 // µs since the Unix epoch, by the vehicle's clock
	Raw   int64
	Value float64
	Text  string // from the value table, if it has one
	Unit  string
}

// Point is one value of a history.
type Point struct {
	Time  int64 // µs since the Unix epoch
	Value float64
}

// Presence is what is known of one device's connection.
type Presence struct {
	Device protocol.DeviceID      `json:"device"`
	State  protocol.PresenceState `json:"state"`
	Since  time.Time              `json:"since"`
	Boot   protocol.BootID        `json:"boot"`
	// Connection and Agent are as the device said last; see protocol.Presence.
	Connection uint64 `json:"connection"`
	Agent      string `json:"agent"`
}

// States may be used from any goroutine.
type States struct {
	mu       sync.RWMutex // guards all below
	vehicles map[protocol.VehicleID]*vehicle
	series   int
}

type vehicle struct {
	signals  map[Key]*signal
	presence map[protocol.DeviceID]Presence
	updated  int64 // newest source time, µs
	dirty    bool  // changed since the last snapshot
}

type signal struct {
	Value
	history *ring
}

// New makes an empty States.
func New() *States {
	return &States{vehicles: map[protocol.VehicleID]*vehicle{}}
}

func (s *States) vehicle(vid protocol.VehicleID) *vehicle {
	v := s.vehicles[vid]
	if v == nil {
		v = &vehicle{signals: map[Key]*signal{}, presence: map[protocol.DeviceID]Presence{}}
		s.vehicles[vid] = v
	}
	return v
}

// Apply takes a decoded batch and returns the values that it made newest, in no particular order.
func (s *States) Apply(vid protocol.VehicleID, schema *codec.Schema, b *codec.Batch) []Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vehicle(vid)
	v.dirty = true
	newest := map[Key]Value{}
	for i := range b.Rows {
		g := &b.Rows[i]
		for c, sig := range schema.Groups[g.Group] {
			if value, ok := s.column(v, &schema.Signals[sig], g, c); ok {
				newest[value.Key] = value
			}
		}
	}
	changed := make([]Value, 0, len(newest))
	for _, value := range newest {
		changed = append(changed, value)
	}
	return changed
}

// column applies one column of a group and gives its newest value, if it became the signal's.
func (s *States) column(v *vehicle, def *codec.Signal, g *codec.GroupRows, c int) (Value, bool) {
	last := lastPresent(g, c)
	if last < 0 {
		return Value{}, false
	}
	key := Key{Bus: def.Bus, Message: def.Message, Signal: def.Name}
	sig := v.signals[key]
	if sig == nil {
		sig = &signal{Value: Value{Key: key, Time: -1 << 63}}
		if s.series < MaxSeries {
			s.series++
			sig.history = new(ring)
		}
		v.signals[key] = sig
	}
	if sig.history != nil {
		for row, t := range g.Time {
			if present(g, c, row) && sig.history.wants(t) {
				sig.history.add(Point{Time: t, Value: def.Physical(g.Columns[c][row])})
			}
		}
	}
	if g.Time[last] < sig.Time {
		return Value{}, false
	}
	raw := g.Columns[c][last]
	text, _ := def.Text(raw)
	sig.Value = Value{Key: key, Time: g.Time[last], Raw: raw, Value: def.Physical(raw), Text: text, Unit: def.Unit}
	v.updated = max(v.updated, g.Time[last])
	return sig.Value, true
}

// lastPresent gives the row with the newest sample of column c, -1 when there is none.
func lastPresent(g *codec.GroupRows, c int) int {
	best := -1
	for row, t := range g.Time {
		if present(g, c, row) && (best < 0 || t >= g.Time[best]) {
			best = row
		}
	}
	return best
}

func present(g *codec.GroupRows, c, row int) bool {
	if g.Present == nil || g.Present[c] == nil {
		return true
	}
	return g.Present[c][row/64]>>(row%64)&1 == 1
}

// SetPresence records what a device, its will or the broker said.
func (s *States) SetPresence(vid protocol.VehicleID, p Presence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vehicle(vid).presence[p.Device] = p
}

// Presence lists the devices of a vehicle by identifier.
func (s *States) Presence(vid protocol.VehicleID) []Presence {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.vehicles[vid]
	if v == nil {
		return nil
	}
	list := make([]Presence, 0, len(v.presence))
	for _, p := range v.presence {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Presence) int { return strings.Compare(string(a.Device), string(b.Device)) })
	return list
}

// Values lists the last known state of a vehicle by bus, message and signal; false when nothing is known of it.
func (s *States) Values(vid protocol.VehicleID) ([]Value, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.vehicles[vid]
	if v == nil {
		return nil, false
	}
	list := make([]Value, 0, len(v.signals))
	for _, sig := range v.signals {
		list = append(list, sig.Value)
	}
	slices.SortFunc(list, func(a, b Value) int { return a.compare(b.Key) })
	return list, true
}

// Summary gives the number of signals known of a vehicle and the newest source time in µs.
func (s *States) Summary(vid protocol.VehicleID) (signals int, newest int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if v := s.vehicles[vid]; v != nil {
		return len(v.signals), v.updated
	}
	return 0, 0
}

func (k Key) compare(o Key) int {
	if c := strings.Compare(k.Bus, o.Bus); c != 0 {
		return c
	}
	if c := strings.Compare(k.Message, o.Message); c != 0 {
		return c
	}
	return strings.Compare(k.Signal, o.Signal)
}

// History gives the newest points of a signal in the order of source time.
func (s *States) History(vid protocol.VehicleID, key Key) ([]Point, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.vehicles[vid]
	if v == nil || v.signals[key] == nil {
		return nil, false
	}
	if h := v.signals[key].history; h != nil {
		return h.ordered(), true
	}
	return nil, true
}
