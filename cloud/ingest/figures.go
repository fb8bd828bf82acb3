package ingest

import "telltale.dev/cloud/backbone"

// Figures is an ability of rooms.
func (f *Front) Figures() []backbone.Figure {
	stat := func(pick func(FrontStats) uint64) func() float64 {
		return func() float64 { return float64(pick(f.Stats())) }
	}
	return []backbone.Figure{
		{Name: "stored", Help: "Messages on disk before their PUBACK.", Value: stat(func(s FrontStats) uint64 { return s.Stored })},
		{Name: "stored_bytes", Help: "Their payload bytes.", Value: stat(func(s FrontStats) uint64 { return s.Bytes })},
		{Name: "over_quota", Help: "Messages refused with 0x97: a vehicle sent too much.", Value: stat(func(s FrontStats) uint64 { return s.OverQuota })},
		{Name: "busy", Help: "Messages refused with 0x97: the backbone was busy or full.", Value: stat(func(s FrontStats) uint64 { return s.Busy + s.Full })},
		{Name: "full", Help: "Those of them for which a stream or the disk was full.", Value: stat(func(s FrontStats) uint64 { return s.Full })},
		{Name: "not_active", Help: "Messages refused with 0x87: the vehicle may not send.", Value: stat(func(s FrontStats) uint64 { return s.NotActive })},
		{Name: "failed", Help: "Messages refused with 0x80.", Value: stat(func(s FrontStats) uint64 { return s.Failed })},
	}
}

// Processors are those of all streams together.
type Processors []*Processor

// Figures is an ability of rooms.
func (list Processors) Figures() []backbone.Figure {
	stat := func(pick func(ProcessorStats) uint64) func() float64 {
		return func() (sum float64) {
			for _, p := range list {
				sum += float64(pick(p.Stats()))
			}
			return sum
		}
	}
	return []backbone.Figure{
		{Name: "batches", Help: "New batches decoded.", Value: stat(func(s ProcessorStats) uint64 { return s.Batches })},
		{Name: "samples", Help: "Samples in them.", Value: stat(func(s ProcessorStats) uint64 { return s.Samples })},
		{Name: "duplicates", Help: "Deliveries left out because they came before.", Value: stat(func(s ProcessorStats) uint64 { return s.Duplicates })},
		{Name: "dead", Help: "Messages that could not be decoded.", Value: stat(func(s ProcessorStats) uint64 { return s.Dead })},
		{Name: "dead_lost", Help: "Dead letters that the dead-letter stream did not take.", Value: stat(func(s ProcessorStats) uint64 { return s.DeadLost })},
		{Name: "set_aside", Help: "Batches set aside for their times; they are among the dead letters.", Value: stat(func(s ProcessorStats) uint64 { return s.Aside })},
		{Name: "skipped", Help: "Messages that a stream deleted unread: its limits are too small.", Value: stat(func(s ProcessorStats) uint64 { return s.Skipped })},
		{Name: "waiting", Help: "Processors that wait for a stream, a store or the lake.", Gauge: true, Value: stat(func(s ProcessorStats) uint64 { return count(s.Waiting) })},
	}
}

// Readers are the consumers of all streams together: a room that takes messages is one for each stream.
type Readers []*Processor

// Figures is an ability of rooms.
func (list Readers) Figures() []backbone.Figure {
	stat := func(pick func(ConsumerStats) uint64) func() float64 {
		return func() (sum float64) {
			for _, p := range list {
				for _, s := range p.Consumers() {
					sum += float64(pick(s))
				}
			}
			return sum
		}
	}
	return []backbone.Figure{
		{Name: "refused", Help: "Offers that a room refused; each message is offered again.", Value: stat(func(s ConsumerStats) uint64 { return s.Refused })},
		{Name: "dead", Help: "Messages that became dead letters because a room did not take them.", Value: stat(func(s ConsumerStats) uint64 { return s.Dead })},
		{Name: "skipped", Help: "Messages that a stream deleted before a room took them.", Value: stat(func(s ConsumerStats) uint64 { return s.Gone })},
		{Name: "owed", Help: "Messages that rooms have not taken yet and will read from the streams.", Gauge: true, Value: stat(func(s ConsumerStats) uint64 { return s.Owed })},
		{Name: "failing", Help: "Rooms that refuse a message now, each stream counted.", Gauge: true, Value: stat(func(s ConsumerStats) uint64 { return count(s.Failing) })},
	}
}

func count(holds bool) uint64 {
	if holds {
		return 1
	}
	return 0
}
