package gate

import "telltale.dev/cloud/backbone"

// Gates are the listeners of one process together.
type Gates []*Listener

// Stats adds up what they counted.
func (g Gates) Stats() (sum Stats) {
	for _, l := range g {
		s := l.Stats()
		sum.Open += s.Open
		sum.Strangers += s.Strangers
		sum.Refused += s.Refused
		sum.Shed += s.Shed
		sum.Slow += s.Slow
		sum.AcceptErrors += s.AcceptErrors
	}
	return sum
}

// Figures is an ability of rooms.
func (g Gates) Figures() []backbone.Figure {
	stat := func(pick func(Stats) float64) func() float64 { return func() float64 { return pick(g.Stats()) } }
	return []backbone.Figure{
		{Name: "refused", Help: "Connections closed at once: no place, and no stranger who could give way.", Value: stat(func(s Stats) float64 { return float64(s.Refused) })},
		{Name: "shed", Help: "Connections of strangers, or idle ones, that gave way to newcomers.", Value: stat(func(s Stats) float64 { return float64(s.Shed) })},
		{Name: "slow", Help: "Connections of strangers whose time was over.", Value: stat(func(s Stats) float64 { return float64(s.Slow) })},
		{Name: "accept_errors", Help: "Passing errors of accepting, such as no file descriptor left.", Value: stat(func(s Stats) float64 { return float64(s.AcceptErrors) })},
		{Name: "connections", Help: "Connections of all listeners.", Gauge: true, Value: stat(func(s Stats) float64 { return float64(s.Open) })},
		{Name: "strangers", Help: "Those of them whose holder is not known yet.", Gauge: true, Value: stat(func(s Stats) float64 { return float64(s.Strangers) })},
	}
}
