// Package state keeps the last known state of each vehicle by source time, a
// history of a day of each signal, and the presence of its devices.
//
// Late data never overwrites newer, and data from the future, of a vehicle whose
// clock is wrong, is left out: it would hide everything after it. The state is a
// projection: it is applied from the stream and saved to a store, so that a
// restart continues where the stream's reader does; so are the histories. Presence is in
// memory only. Long history is the lake's business.
package state

import (
	"container/heap"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/protocol"
)

// Bounds of what is kept.
const (
	MaxSignals = 20_000         // of one vehicle; what comes beyond is left out and counted
	MaxNames   = 4 << 20        // bytes of the names and units of all signals of one vehicle; what comes beyond is left out and counted
	MaxText    = 1 << 10        // bytes of a signal's names, unit and text together; others are left out and counted
	MaxAhead   = 24 * time.Hour // how far a time may be after the reception; it matters only where ingest sets no narrower bound
)

// Key names a signal of a vehicle.
type Key struct {
	Bus, Message, Signal string
}

// Value is the newest known value of a signal.
type Value struct {
	Key
	Time  int64   // µs since the Unix epoch, by the vehicle's clock
	Raw   int64   // the integer on the bus; see NoInteger
	Value float64 // NaN when there is none: see Quality
	Text  string  // from the value table, if it has one
	Unit  string
	// Quality says why there is no value, in the words of signal.Validity; empty: there is one.
	Quality string `cbor:",omitempty"`
	// NoInteger says that Raw is the bits of a float, 32 or 64 of them, or of an unsigned integer from 2^63 on.
	NoInteger bool `cbor:",omitempty"`
}

// Point is one value of a history.
type Point struct {
	Time  int64   // µs since the Unix epoch
	Value float64 // NaN when there was none
}

// Presence is what a device, or its will, said of its connection last.
type Presence struct {
	protocol.Presence
	Since time.Time // by the cloud's clock
	Said  []byte    // the document as it was said, with what this version does not know of it
}

// Stats are gauges of what is kept, and counts since the start.
type Stats struct {
	Vehicles, Signals int
	HistoryBytes      int    // of memory for points, see MaxHistories
	Ahead             uint64 // rows of batches left out because their time is before 1970 or more than MaxAhead after their reception
	Unkept            uint64 // columns of batches left out because of MaxSignals, MaxNames or MaxText
}

// States may be used from any goroutine.
type States struct {
	saving   sync.Mutex   // one Save at a time; mu is taken and released under it
	mu       sync.RWMutex // guards all below
	vehicles map[protocol.VehicleID]*vehicle
	removing map[protocol.VehicleID]int // signals of vehicles whose Remove met an error
	rich     richest
	bounds   bounds
	stats    Stats
	applied  uint64    // number of the Apply at work
	rows     rows      // memory of Apply
	changed  []*signal // memory of Apply
}

type vehicle struct {
	signals  []*signal // in the order in which they came: snapshots are cut along it
	byKey    map[Key]*signal
	bindings map[protocol.SchemaID][]*signal // by index of the schema's signals
	presence map[protocol.DeviceID]Presence
	names    int   // bytes, as MaxNames counts them
	level    int   // of the histories, see lastLevel
	charged  int   // bytes of the histories
	place    int   // in States.rich
	turn     int   // of the next save of histories, see historyTurns
	updated  int64 // newest source time, µs
	dirty    bool  // changed since the last Save
}

type signal struct {
	Value
	history history
	changed uint64 // number of the Apply that changed it last
}

// New makes an empty States.
func New() *States {
	return &States{vehicles: map[protocol.VehicleID]*vehicle{}, removing: map[protocol.VehicleID]int{}, bounds: bounds{MaxHistory, MaxHistories}}
}

// vehicle gives the entry, made when missing. The caller holds mu.
func (s *States) vehicle(vid protocol.VehicleID) *vehicle {
	v := s.vehicles[vid]
	if v == nil {
		v = &vehicle{
			byKey: map[Key]*signal{}, bindings: map[protocol.SchemaID][]*signal{}, presence: map[protocol.DeviceID]Presence{},
		}
		s.vehicles[vid] = v
		s.stats.Vehicles++
		heap.Push(&s.rich, v)
	}
	return v
}

// signal gives the entry of a signal, made when missing; nil beyond the bounds. The caller holds mu.
func (s *States) signal(v *vehicle, key Key, unit string) *signal {
	if sig := v.byKey[key]; sig != nil {
		return sig
	}
	size := len(key.Bus) + len(key.Message) + len(key.Signal) + len(unit)
	if len(v.signals) >= MaxSignals || size > MaxText || v.names+size > MaxNames {
		return nil
	}
	v.names += size
	sig := &signal{Value: Value{Key: key, Time: -1, Unit: unit}}
	v.byKey[key] = sig
	v.signals = append(v.signals, sig)
	s.stats.Signals++
	return sig
}

// SetPresence records what a device or its will said.
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

// DevicePresence gives what a device said last; false when it has said nothing.
func (s *States) DevicePresence(vid protocol.VehicleID, did protocol.DeviceID) (Presence, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if v := s.vehicles[vid]; v != nil {
		p, ok := v.presence[did]
		return p, ok
	}
	return Presence{}, false
}

// Values lists the last known state of a vehicle by bus, message and signal.
func (s *States) Values(vid protocol.VehicleID) []Value {
	list := s.values(vid)
	slices.SortFunc(list, func(a, b Value) int { return a.compare(b.Key) })
	return list
}

// values lists the last known state in the order in which the signals came.
func (s *States) values(vid protocol.VehicleID) []Value {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.vehicles[vid]
	if v == nil {
		return nil
	}
	list := make([]Value, len(v.signals))
	for i, sig := range v.signals {
		list[i] = sig.Value
	}
	return list
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

// History gives the points of a signal in the order of source time; false when the signal is not known.
func (s *States) History(vid protocol.VehicleID, key Key) ([]Point, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.vehicles[vid]
	if v == nil || v.byKey[key] == nil {
		return nil, false
	}
	return v.byKey[key].history.thinned(v.level), true
}

// Stats may be called at any time.
func (s *States) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.stats
}
