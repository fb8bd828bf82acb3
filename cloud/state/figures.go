package state

import "telltale.dev/cloud/backbone"

// Figures is an ability of rooms.
func (s *States) Figures() []backbone.Figure {
	stat := func(pick func(Stats) uint64) func() float64 {
		return func() float64 { return float64(pick(s.Stats())) }
	}
	return []backbone.Figure{
		{Name: "ahead", Help: "Rows left out of the state because their time cannot be.", Value: stat(func(s Stats) uint64 { return s.Ahead })},
		{Name: "unkept", Help: "Columns left out of the state because a vehicle has too many signals.", Value: stat(func(s Stats) uint64 { return s.Unkept })},
		{Name: "signals", Help: "Signals with a last known value.", Gauge: true, Value: stat(func(s Stats) uint64 { return uint64(s.Signals) })},
		{Name: "history_bytes", Help: "Memory of the histories.", Gauge: true, Value: stat(func(s Stats) uint64 { return uint64(s.HistoryBytes) })},
	}
}
