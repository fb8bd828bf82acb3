package uplink

import (
	"slices"
	"time"

	"telltale.dev/protocol"
)

// A record that makes the server end the connection would stop the whole queue:
// it would be sent first again and again. So whatever waits for an answer gets a strike when the
// other side ends the connection while it is under way. A record with
// several strikes is a suspect. Suspects go last, when all else is answered, one
// at a time, the one with the fewest strikes first: the innocent ones get
// through, and the guilty one, which gathers strikes, holds up nobody. After each further strike it
// rests for twice as long, so that the device does not lose its connection again and again for it.
//
// A schema document can be the cause, too, for example where the server does not allow it to be published: then the records
// that need it are suspects. A message of the mailbox with many strikes only rests. Ordered records keep their order: behind a suspect
// the ordered ones of its class wait in the buffer until it is through, and nobody else waits.

const (
	maxStrikes  = 3                // so many strikes make a record a suspect
	maxStricken = 1024             // how many items with strikes are remembered; beyond it all are forgotten
	maxRest     = time.Hour        // of a suspect
	maxUrgent   = 30 * time.Second // of one of CS5 and above: a crash message is worth a connection
	maxResting  = 8                // suspects that are kept while they rest; a quarter of maxHeld
)

// strikes is what is known about a record, schema or message with at least one strike. It need not be a suspect yet.
type strikes struct {
	count int
	rests time.Time // until then it is not sent
}

// suspectKey tells items apart over connections: by the position of a record, the hash of a schema, or the topic of a message.
// The connection's own words have none: without them there is no connection.
func (it *Item) suspectKey() any {
	switch it.kind {
	case recordKind:
		return it.position
	case schemaKind:
		return it.schema
	case messageKind:
		return it.topic
	}
	return nil
}

// strike counts a connection that the other side ended with these under way.
func (u *Uplink) strike(underWay []any, now time.Time) {
	for _, token := range underWay {
		it, ok := token.(*Item)
		if !ok || it.suspectKey() == nil {
			continue
		}
		if len(u.strikes) >= maxStricken { // records that were evicted stay in the map; begin anew
			clear(u.strikes)
		}
		s := u.strikes[it.suspectKey()]
		s.count++
		if further := s.count - maxStrikes; further > 0 {
			longest := maxRest
			if it.priority >= protocol.CS5 {
				longest = maxUrgent
			}
			s.rests = now.Add(min(longest, u.cfg.BackoffMin<<min(further, 20)))
		}
		u.strikes[it.suspectKey()] = s
		if s.count == maxStrikes {
			u.cfg.Log.Warn("record is sent last: the server ended several connections while it was under way", "seq", it.id.Seq, "bytes", len(it.payload))
		}
	}
}

// suspicious says whether a record is a suspect, or the schema that it needs.
func (s *Sender) suspicious(it *Item) bool {
	return s.u.strikes[it.position].count >= maxStrikes || s.needsSchema(it) && s.u.strikes[it.schema].count >= maxStrikes
}

func (s *Sender) needsSchema(it *Item) bool {
	return it.schema != (protocol.SchemaHash{}) && !s.known[it.schema]
}

// suspect keeps a suspect back; it is false when the record is none. There may be many suspects, for example when a server
// ends the connection over every message of a kind. So that they do not fill a lane, at most maxResting that rest are kept,
// and one of those that need the same schema. The others wait in the buffer, for the next connection or until the schema
// has been acknowledged.
func (s *Sender) suspect(it *Item, now time.Time) bool {
	if !s.suspicious(it) {
		return false
	}
	if it.ordered {
		s.order.stick(it.position.Class)
		s.behind = true
	}
	resting, twin := 0, false
	for _, o := range s.suspects {
		if now.Before(s.rests(o)) {
			resting++
		}
		twin = twin || s.needsSchema(it) && o.schema == it.schema
	}
	if twin || resting >= maxResting && now.Before(s.rests(it)) {
		s.behind = true
		s.setAside(it, "the server ended several connections over it, or others like it")
		return true
	}
	it.suspect = true
	s.suspects = append(s.suspects, it)
	s.lanes[laneOf(it.priority)].held++
	return true
}

// again begins with the buffer anew, since what was set aside may go now. Nothing is under way.
func (s *Sender) again() {
	s.behind, s.reread = false, false
	s.u.stats.add(func(st *Stats) { st.SetAside = 0 })
	s.first = slices.DeleteFunc(s.first, func(it *Item) bool { return it.kind == recordKind })
	lowest := s.order.lowest
	s.order, s.suspects, s.waiting = newOrder(s.u.cfg.Buffer), nil, map[protocol.SchemaHash][]*Item{}
	s.order.lowest = lowest
	s.held = slices.DeleteFunc(s.held, func(it *Item) bool { return it.kind == recordKind })
	for i := range s.lanes {
		s.lanes[i].held = 0
	}
	for _, it := range s.held {
		s.lanes[laneOf(it.priority)].held++
	}
}

// rests gives when a suspect may be sent, and its schema.
func (s *Sender) rests(it *Item) time.Time {
	until := s.u.strikes[it.position].rests
	if schema := s.u.strikes[it.schema].rests; s.needsSchema(it) && schema.After(until) {
		return schema
	}
	return until
}

// pickSuspect takes the suspect with the fewest strikes that does not rest, when nothing else is under way. When its schema
// is to go before, that goes instead.
func (s *Sender) pickSuspect(now time.Time) *Item {
	if s.inflight > 0 || len(s.suspects) == 0 {
		return nil
	}
	best := -1
	for i, it := range s.suspects {
		if s.barred(it) || now.Before(s.rests(it)) {
			continue
		}
		if best < 0 || s.u.strikes[it.position].count < s.u.strikes[s.suspects[best].position].count {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	it := s.suspects[best]
	s.suspects = slices.Delete(s.suspects, best, best+1)
	if !s.needsSchema(it) {
		s.release(it)
		return it
	}
	doc := s.schemaOf(it)
	if doc != nil {
		s.waiting[it.schema] = append(s.waiting[it.schema], it)
		return doc
	}
	s.release(it)
	return s.pickSuspect(now)
}
