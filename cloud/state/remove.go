package state

import (
	"container/heap"
	"context"

	"telltale.dev/protocol"
)

// Remove forgets a vehicle: its state, histories and presence, in memory at once and on
// disk when it returns without an error. After an error the disk may still have it.
func (s *States) Remove(ctx context.Context, store Store, vid protocol.VehicleID) error {
	s.saving.Lock() // a Save under way would write what is removed
	defer s.saving.Unlock()
	signals := s.drop(vid)
	for part := 0; part*partSignals < signals; part++ {
		if err := save(ctx, store, partKey(vid, part), nil); err != nil {
			return err
		}
	}
	return nil
}

// RemovePresence forgets what was said of a device: of a vehicle that was removed between a look at the registry and
// SetPresence. What the disk has of the vehicle is left to Remove.
func (s *States) RemovePresence(vid protocol.VehicleID, device protocol.DeviceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vehicles[vid]
	if v == nil {
		return
	}
	delete(v.presence, device)
	if len(v.presence) == 0 && len(v.signals) == 0 {
		s.forget(vid, v)
	}
}

// drop removes a vehicle from memory and gives how many signals it had.
func (s *States) drop(vid protocol.VehicleID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vehicles[vid]
	if v == nil {
		return 0
	}
	s.forget(vid, v)
	return len(v.signals)
}

// forget takes a vehicle out of the table, the counts and the share of histories. The caller holds mu.
func (s *States) forget(vid protocol.VehicleID, v *vehicle) {
	delete(s.vehicles, vid)
	heap.Remove(&s.series, v.place)
	s.stats.Vehicles--
	s.stats.Signals -= len(v.signals)
	s.stats.Series -= len(v.series)
}
