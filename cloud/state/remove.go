package state

import (
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

// drop removes a vehicle from memory and gives how many signals it had.
func (s *States) drop(vid protocol.VehicleID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vehicles[vid]
	if v == nil {
		return 0
	}
	delete(s.vehicles, vid)
	s.stats.Vehicles--
	s.stats.Signals -= len(v.signals)
	for _, sig := range v.signals {
		if sig.history != nil {
			s.stats.Series--
		}
	}
	return len(v.signals)
}
