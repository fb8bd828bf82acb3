package api

import "telltale.dev/cloud/backbone"

// Figures is an ability of rooms.
func (l *Live) Figures() []backbone.Figure {
	return []backbone.Figure{
		{Name: "dropped", Help: "Samples and other live events that slow watchers missed.", Value: func() float64 { return float64(l.Dropped()) }},
		{Name: "watchers", Help: "Streams of live events.", Gauge: true, Value: func() float64 { return float64(l.Watchers()) }},
	}
}
