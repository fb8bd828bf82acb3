package ingest

import (
	"telltale.dev/protocol"
)

// Work is counted in units; one is about what a sample costs on its way from the
// payload to the lake, half a microsecond.
const (
	// turnUnits is what a vehicle may do in its turn. A message that costs more ends the
	// turn and is paid off in the turns after it.
	turnUnits = 20_000
	// messageUnits is what a message costs beside what is in it.
	messageUnits = 100
	// recallUnits is what reading messages again costs, for which the stream is opened anew.
	recallUnits = 10_000
	// schemaUnits is what finding a schema document costs beside reading it.
	schemaUnits = 2000
	// plainUnits is how many bytes after decompression, and how many of a schema document that is parsed, cost a unit.
	plainUnits = 64
	// evictedUnits is what a declared range costs.
	evictedUnits = 2
)

// Bounds of what waits between the stream's reader and decoding. A vehicle that reaches its
// own bounds pays for it alone: what comes beyond stays in the stream and is read again
// when its turn comes. All together pay when memory is half full, or when queueMessages
// wait: nothing is read until some are done. As a vehicle has at most a sixteenth of what is
// left, it takes more than sixteen with a large backlog each to get there.
const (
	holdMessages  = 256      // of one vehicle, in memory; at least one may be there
	holdBytes     = 64 << 20 // of all vehicles, headers included
	holdPart      = 16       // a vehicle has at most this part of what is left of holdBytes
	holdOverhead  = 1 << 10  // bytes of a message beside its payload, about
	queueMessages = 1 << 16  // of all vehicles, in memory or not; one that is not costs 24 bytes
)

// holdSize is what a message takes of holdBytes.
func holdSize(m *Message) int { return len(m.Data) + holdOverhead }

// fairQueue holds messages between the reader and decoding, in order for each vehicle, and
// says whose turn it is: deficit round robin (Shreedhar and Varghese, 1996), where a
// vehicle in its turn may overdraw by one message. A vehicle that begins to send and owes
// nothing has its first turn before those that had theirs (the new flows of FQ-CoDel, RFC 8290,
// 4.2); as it becomes an old one after it, a vehicle can go ahead only once for each time that it was
// silent. So an expensive backlog of one vehicle, or of many, delays another's message by
// one piece of work at most. Messages whose vehicle cannot be read share one place. It is
// owned by Processor.Run.
type fairQueue struct {
	vehicles map[protocol.VehicleID]*vehicleQueue
	fresh    []*vehicleQueue // those that have not had a turn yet, in the order in which they came
	turns    []*vehicleQueue // the others that have messages or are in debt, in the order of their turns
	at       int             // in turns: whose turn it is
	messages int             // waiting
	bytes    int             // in memory, as holdSize counts
}

// vehicleQueue is what waits of one vehicle.
type vehicleQueue struct {
	vehicle protocol.VehicleID
	entries []queued // from head on
	head    int
	held    int // of them in memory
	bytes   int // of them, as holdSize counts
	credit  int // units; negative: a debt
	fresh   bool
	missed  int // reads in a row that did not give the head, which is not in memory
}

// queued is one message that waits.
type queued struct {
	sequence uint64
	message  *Message // nil: to be read again
	urgent   bool     // whose share of the quota was debited in advance
	advance  int32    // samples debited from the vehicle before they were known; given back
}

func newFairQueue() fairQueue { return fairQueue{vehicles: make(map[protocol.VehicleID]*vehicleQueue)} }

// add puts a message at the end of its vehicle's queue. False means that only its
// place is kept, as the vehicle has enough in memory.
func (q *fairQueue) add(vid protocol.VehicleID, m *Message) (kept bool, e *queued) {
	v := q.vehicles[vid]
	if v == nil {
		v = &vehicleQueue{vehicle: vid, fresh: true, credit: turnUnits}
		q.vehicles[vid] = v
		q.fresh = append(q.fresh, v)
	}
	v.entries = append(v.entries, queued{sequence: m.Sequence})
	q.messages++
	e = &v.entries[len(v.entries)-1]
	// Once one is not kept, none behind it is: a read that brings it back brings those too.
	if v.held < len(v.entries)-1-v.head || !q.room(v, holdSize(m)) {
		return false, e
	}
	q.keep(v, e, m)
	return true, e
}

// full says whether nothing more may be read.
func (q *fairQueue) full() bool { return q.messages >= queueMessages || q.bytes >= holdBytes/2 }

// room says whether a vehicle may have one more message in memory.
func (q *fairQueue) room(v *vehicleQueue, size int) bool {
	return v.held == 0 || v.held < holdMessages && v.bytes+size <= (holdBytes-q.bytes)/holdPart
}

func (q *fairQueue) keep(v *vehicleQueue, e *queued, m *Message) {
	e.message = m
	v.held++
	v.bytes += holdSize(m)
	q.bytes += holdSize(m)
}

// restore keeps those of the messages, in order, whose places v has, as long as there is room.
func (q *fairQueue) restore(v *vehicleQueue, messages []Message) {
	at := v.head
	for i := range messages {
		m := &messages[i]
		for at < len(v.entries) && v.entries[at].sequence < m.Sequence {
			at++
		}
		if at == len(v.entries) {
			return
		}
		e := &v.entries[at]
		if e.sequence != m.Sequence || e.message != nil {
			continue
		}
		if v.held > 0 && !q.room(v, holdSize(m)) {
			return
		}
		q.keep(v, e, m)
	}
}

// turn gives the vehicle whose turn it is; it has a message. There must be one.
func (q *fairQueue) turn() *vehicleQueue {
	for len(q.fresh) > 0 {
		v := q.fresh[0]
		if v.credit > 0 && v.len() > 0 {
			return v
		}
		v.fresh = false
		q.fresh[0] = nil
		q.fresh = q.fresh[1:]
		q.turns = append(q.turns, v)
	}
	for {
		q.at %= len(q.turns)
		v := q.turns[q.at]
		switch {
		case v.credit > 0 && v.len() > 0:
			return v
		case v.credit >= 0 && v.len() == 0: // it owes nothing
			q.turns = append(q.turns[:q.at], q.turns[q.at+1:]...)
			delete(q.vehicles, v.vehicle)
			continue
		case v.credit <= 0:
			v.credit = min(v.credit+turnUnits, turnUnits)
			if v.credit > 0 && v.len() > 0 {
				return v
			}
		}
		q.at++
	}
}

// pop takes the head of v, which is done.
func (q *fairQueue) pop(v *vehicleQueue) queued {
	e := v.entries[v.head]
	v.entries[v.head] = queued{}
	v.head++
	v.missed = 0
	q.messages--
	if e.message != nil {
		v.held--
		v.bytes -= holdSize(e.message)
		q.bytes -= holdSize(e.message)
	}
	switch {
	case v.head == len(v.entries):
		v.entries, v.head = v.entries[:0], 0
	case v.head >= 64 && 2*v.head >= len(v.entries):
		v.entries = append(v.entries[:0], v.entries[v.head:]...)
		v.head = 0
	}
	if q.messages == 0 { // nobody waits, so that nobody is owed anything
		clear(q.vehicles)
		clear(q.turns)
		q.turns, q.at, q.fresh = q.turns[:0], 0, nil
	}
	return e
}

// charge takes units from the vehicle, and ends its turn when it has none left.
func (q *fairQueue) charge(v *vehicleQueue, units int) {
	if v.credit -= units; v.credit <= 0 && !v.fresh {
		q.at++
	}
}

func (v *vehicleQueue) len() int { return len(v.entries) - v.head }

// first is the message whose turn comes first.
func (v *vehicleQueue) first() *queued { return &v.entries[v.head] }
