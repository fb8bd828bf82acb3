package state

import (
	"context"
	"fmt"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// Store keeps snapshots by vehicle; Put returns when the value is on disk.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	List(ctx context.Context) (map[string][]byte, error)
}

// snapshot is the stored form of a vehicle's last known state. Units and texts
// are kept, so that it reads without the schema. History is not kept.
type snapshot struct {
	Version int     `cbor:"v"` // 1
	Values  []Value `cbor:"values"`
}

// Save writes the vehicles that changed since the last Save.
func (s *States) Save(ctx context.Context, store Store) error {
	for _, vid := range s.takeDirty() {
		values, _ := s.Values(vid)
		data, err := codec.Marshal(snapshot{Version: 1, Values: values})
		if err == nil {
			err = store.Put(ctx, string(vid), data)
		}
		if err != nil {
			s.markDirty(vid)
			return fmt.Errorf("state snapshot: %w", err)
		}
	}
	return nil
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

// Load reads all snapshots.
func (s *States) Load(ctx context.Context, store Store) error {
	entries, err := store.List(ctx)
	if err != nil {
		return fmt.Errorf("state snapshots: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, data := range entries {
		var snap snapshot
		if err := codec.Unmarshal(data, &snap); err != nil {
			return fmt.Errorf("state snapshot: %w", err)
		}
		v := s.vehicle(protocol.VehicleID(key))
		for _, value := range snap.Values {
			v.signals[value.Key] = &signal{Value: value}
			if s.series < MaxSeries {
				s.series++
				v.signals[value.Key].history = new(ring)
			}
			v.updated = max(v.updated, value.Time)
		}
	}
	return nil
}
