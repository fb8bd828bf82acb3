package virtual

import "slices"

// Range is the frames First ≤ index < End of one bus.
type Range struct{ First, End uint64 }

// Attachment is what the hub knows about one reader.
type Attachment struct {
	ID   uint64 // rising within the hub, from 1
	Bus  string
	Name string // as the reader calls itself in its URL, or empty
	PID  int    // as the reader says
	// First is the index of the first frame it could receive. Next is the index
	// behind the last one handed to its connection: what is not yet Next it
	// cannot have received; whether it has received what was handed over, only it knows.
	First, Next uint64
	// Dropped are the frames from First on that it lost because it lagged, in order, its own not among them.
	Dropped []Range
	Sent    uint64 // frames it has put on the bus; it does not receive these
	// Ended says that it is gone; End is then the number of frames on the bus when the hub noticed.
	Ended bool
	End   uint64
}

// reader is the hub's side of one attached process. Its wire's mu guards all
// but the first group of fields.
type reader struct {
	id       uint64
	wire     *Wire
	pid      int
	name     string
	finished chan struct{} // closed when its writer has ended
	first    uint64
	next     uint64
	own      []Range // frames it sent itself, from next on
	dropped  []Range
	untold   uint64 // dropped frames that it has not been told of
	sent     uint64
	busy     bool // a message is being written
	ended    bool
	end      uint64
	failure  string
}

// drop notes frames that the reader will not get.
func (r *reader) drop(lost Range) {
	r.untold += lost.End - lost.First
	r.dropped = appendRange(r.dropped, lost)
}

// ownAt gives the end of the run of own frames that holds index, or index itself when there is none; runs before index are forgotten.
func (r *reader) ownAt(index uint64) uint64 {
	for len(r.own) > 0 && r.own[0].End <= index {
		r.own = r.own[1:]
	}
	if len(r.own) > 0 && r.own[0].First <= index {
		return r.own[0].End
	}
	return index
}

// appendRange appends r to ranges in order, joined with the last when they touch.
func appendRange(ranges []Range, r Range) []Range {
	if n := len(ranges); n > 0 && ranges[n-1].End == r.First {
		ranges[n-1].End = r.End
		return ranges
	}
	return append(ranges, r)
}

// attachment takes a snapshot.
func (r *reader) attachment() Attachment {
	r.wire.mu.Lock()
	defer r.wire.mu.Unlock()
	if !r.ended {
		r.wire.skip(r)
	}
	return Attachment{
		ID: r.id, Bus: r.wire.name, Name: r.name, PID: r.pid, First: r.first, Next: r.next,
		Dropped: slices.Clone(r.dropped), Sent: r.sent, Ended: r.ended, End: r.end,
	}
}
