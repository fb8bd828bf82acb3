package registry

import "telltale.dev/cloud/backbone"

// Figures is an ability of rooms.
func (r *Registry) Figures() []backbone.Figure {
	return []backbone.Figure{{Name: "vehicles", Help: "Registered vehicles.", Gauge: true, Value: func() float64 { return float64(len(r.Vehicles())) }}}
}
