package state

import (
	"container/heap"
	"context"
	"fmt"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
)

// Remove forgets a vehicle: its state, histories and presence, in memory at once and on
// disk when it returns without an error. After an error, or a crash, the disk may still have it: call Remove again.
func (s *States) Remove(ctx context.Context, store backbone.Store, vid protocol.VehicleID) error {
	s.saving.Lock() // a Save under way would write what is removed
	defer s.saving.Unlock()
	signals := s.drop(vid)
	keys := historyKeys(vid, signals)
	for part := (signals - 1) / partSignals; part >= 0; part-- { // what a crash leaves still tells how many there were
		keys = append(keys, partKey(vid, part))
	}
	for _, key := range keys {
		if err := store.Delete(ctx, key); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.removing[vid] = signals
			return fmt.Errorf("state snapshot: %w", err)
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

// drop removes a vehicle from memory and gives how many signals it had, also when an earlier Remove dropped it.
func (s *States) drop(vid protocol.VehicleID) (signals int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	signals = s.removing[vid]
	delete(s.removing, vid)
	if v := s.vehicles[vid]; v != nil {
		s.forget(vid, v)
		signals = max(signals, len(v.signals))
	}
	return signals
}

// forget takes a vehicle out of the table, the counts and the share of histories. The caller holds mu.
func (s *States) forget(vid protocol.VehicleID, v *vehicle) {
	delete(s.vehicles, vid)
	heap.Remove(&s.rich, v.place)
	s.stats.Vehicles--
	s.stats.Signals -= len(v.signals)
	s.stats.HistoryBytes -= v.charged
}
