package backbone

import (
	"context"
	"math"
	"time"
)

// figureWait is how long a figure waits for the backbone's answer.
const figureWait = 2 * time.Second

// Figures is an ability of rooms.
func (b *Backbone) Figures() []Figure {
	stat := func(pick func(Stats) float64) func() float64 { return func() float64 { return pick(b.Stats()) } }
	return []Figure{
		{Name: "batches", Help: "Commits of several messages at once.", Value: stat(func(s Stats) float64 { return float64(s.Batches) })},
		{Name: "conflicts", Help: "Conditional messages whose condition did not hold.", Value: stat(func(s Stats) float64 { return float64(s.Conflicts) })},
		{Name: "refusing", Help: "Reasons for which messages are refused now; /v1/health names them.", Gauge: true, Value: func() float64 { return float64(len(b.Refusals())) }},
		{Name: "disk_free_bytes", Help: "Free on the disk of the embedded server.", Gauge: true, Value: func() float64 { free, _, _ := b.Space(); return float64(free) }},
		{Name: "disk_reserve_bytes", Help: "Kept free on it: below, messages are refused.", Gauge: true, Value: func() float64 { _, kept, _ := b.Space(); return float64(kept) }},
		{Name: "timers", Help: "Timers that are scheduled.", Gauge: true, Value: stat(func(s Stats) float64 { return float64(s.Timers) })},
		{Name: "dead_letters", Help: "Messages among the dead letters; NaN while the backbone does not answer.", Gauge: true, Value: b.deadLetters},
		{Name: "foreign", Help: "Messages that others stored in the streams of vehicles; they are passed over.", Value: stat(func(s Stats) float64 { return float64(s.Foreign) })},
		{Name: "queued", Help: "Messages waiting for the disk.", Gauge: true, Value: stat(func(s Stats) float64 { return float64(s.Queued) })},
	}
}

// deadLetters is how many there are.
func (b *Backbone) deadLetters() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), figureWait)
	defer cancel()
	info, err := b.Info(ctx, Dead)
	if err != nil {
		return math.NaN()
	}
	return float64(info.Messages)
}
