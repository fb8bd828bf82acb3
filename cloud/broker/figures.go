package broker

import "telltale.dev/cloud/backbone"

// Figures is an ability of rooms.
func (b *Broker) Figures() []backbone.Figure {
	stat := func(pick func(Stats) float64) func() float64 { return func() float64 { return pick(b.Stats()) } }
	return []backbone.Figure{
		{Name: "publishes", Help: "Publishes handed on for storing.", Value: stat(func(s Stats) float64 { return float64(s.Publishes) })},
		{Name: "refused", Help: "Publishes answered with a reason code from 0x80 on.", Value: stat(func(s Stats) float64 { return refusals(s.Refused) })},
		{Name: "delivered", Help: "Messages handed to connections.", Value: stat(func(s Stats) float64 { return float64(s.Delivered) })},
		{Name: "declined", Help: "Those that the client answered with a reason code from 0x80 on.", Value: stat(func(s Stats) float64 { return refusals(s.Acknowledged) })},
		{Name: "connections", Help: "Clients with an accepted CONNECT.", Gauge: true, Value: stat(func(s Stats) float64 { return float64(s.Connections) })},
		{Name: "queued", Help: "Messages waiting for sessions.", Gauge: true, Value: stat(func(s Stats) float64 { return float64(s.Queued) })},
	}
}

// refusals adds up the counts of the codes that refuse.
func refusals(byCode map[byte]uint64) (sum float64) {
	for code, n := range byCode {
		if code >= 0x80 {
			sum += float64(n)
		}
	}
	return sum
}
