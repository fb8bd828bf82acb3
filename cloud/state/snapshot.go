package state

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
)

// snapshot is the stored form of a part of a vehicle's last known state. Units and
// texts are kept, so that it reads without the schema. Its key is the vehicle's
// identifier, and for parts after the first "/" and the part's number.
type snapshot struct {
	Version int           `cbor:"v"` // 1
	Values  []storedValue `cbor:"values"`
}

// storedValue is a Value on disk. Documents have neither NaN nor infinities: their bits are
// kept beside the value 0.
type storedValue struct {
	Value
	Bits uint64 `cbor:",omitempty"` // math.Float64bits
}

func stored(values []Value) []storedValue {
	list := make([]storedValue, len(values))
	for i, v := range values {
		list[i].Value = v
		if f := v.Value; math.IsNaN(f) || math.IsInf(f, 0) {
			list[i].Value.Value, list[i].Bits = 0, math.Float64bits(f)
		}
	}
	return list
}

func (v *storedValue) restore() Value {
	if v.Bits != 0 {
		v.Value.Value = math.Float64frombits(v.Bits)
	}
	return v.Value
}

const (
	// partSignals bounds a part: with MaxText for the names and MaxText for the
	// text of each signal it stays below a megabyte.
	partSignals = 450
	// savers is how many parts are on their way to the disk at once, so that they share its syncs.
	savers = 32
)

// Save writes the vehicles that changed since the last Save. When it returns
// without an error, everything applied before it began is on disk, also when
// another Save was under way. After an error what is not on disk is written by the next one.
func (s *States) Save(ctx context.Context, store backbone.Store) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	var group errgroup.Group
	group.SetLimit(savers)
	for _, vid := range s.takeDirty() {
		values, histories := s.values(vid), s.historyEntries(vid)
		group.Go(func() error {
			err := put(ctx, store, histories)
			if err != nil {
				s.markUnsaved(vid)
			}
			return err
		})
		for part := 0; part*partSignals < len(values); part++ {
			some := values[part*partSignals : min((part+1)*partSignals, len(values))]
			group.Go(func() error {
				err := save(ctx, store, partKey(vid, part), some)
				if err != nil {
					s.markDirty(vid)
				}
				return err
			})
		}
	}
	return group.Wait()
}

func save(ctx context.Context, store backbone.Store, key string, values []Value) error {
	data, err := document.Marshal(snapshot{Version: 1, Values: stored(values)})
	if err == nil {
		err = store.Put(ctx, key, data)
	}
	if err != nil {
		return fmt.Errorf("state snapshot: %w", err)
	}
	return nil
}

func partKey(vid protocol.VehicleID, part int) string {
	if part == 0 {
		return string(vid)
	}
	return string(vid) + "/" + strconv.Itoa(part)
}

// parsePart reads what partKey writes.
func parsePart(key string) (vid protocol.VehicleID, part int, err error) {
	name, number, more := strings.Cut(key, "/")
	if more {
		if part, err = strconv.Atoi(number); err != nil {
			return "", 0, fmt.Errorf("part: %w", err)
		}
	}
	vid, err = protocol.ParseVehicleID(name)
	return vid, part, err
}

func compareParts(a, b string) int {
	va, pa, _ := parsePart(a)
	vb, pb, _ := parsePart(b)
	return cmp.Or(cmp.Compare(va, vb), cmp.Compare(pa, pb))
}

func (s *States) takeDirty() []protocol.VehicleID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []protocol.VehicleID
	for vid, v := range s.vehicles {
		if v.dirty {
			v.dirty = false
			list = append(list, vid)
		}
	}
	return list
}

func (s *States) markDirty(vid protocol.VehicleID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vehicle(vid).dirty = true
}

// markUnsaved has the next save write all of a vehicle's histories.
func (s *States) markUnsaved(vid protocol.VehicleID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.vehicles[vid]; v != nil {
		v.dirty, v.turn = true, 0
	}
}

// Load reads all snapshots into an empty States. A snapshot that cannot be read is
// left out and counted: what it held comes again with the vehicle's next batches.
func (s *States) Load(ctx context.Context, store backbone.Store) (unreadable int, err error) {
	entries, err := store.List(ctx)
	if err != nil {
		return 0, fmt.Errorf("state snapshots: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// In order, so that signals stay in the parts in which they are: the next Save replaces part by part.
	var histories []string
	for _, key := range slices.SortedFunc(maps.Keys(entries), compareParts) {
		if isHistory(key) {
			histories = append(histories, key)
			continue
		}
		var snap snapshot
		vid, _, err := parsePart(key)
		if err == nil {
			err = document.Unmarshal(entries[key], &snap)
		}
		if err != nil || snap.Version != 1 {
			unreadable++
			continue
		}
		if len(snap.Values) > 0 { // earlier versions left empty ones of vehicles that were deleted
			s.load(s.vehicle(vid), snap.Values)
		}
	}
	return unreadable + s.loadHistories(entries, histories), nil
}

// load takes values from a snapshot. A signal may be in two parts, if an earlier
// part was unreadable once; the newer value counts.
func (s *States) load(v *vehicle, values []storedValue) {
	for i := range values {
		value := values[i].restore()
		if sig := s.signal(v, value.Key, value.Unit); sig != nil && value.Time >= sig.Time {
			sig.Value = value
			v.updated = max(v.updated, value.Time)
		}
	}
}
