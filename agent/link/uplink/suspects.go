package uplink

// A record that makes the server end the connection would stop the whole queue:
// it would be sent first again and again. So records get a strike when the
// other side ends the connection while they are under way. A record with
// several strikes is a suspect. Suspects go last, when all else is answered, one
// at a time, the one with the fewest strikes first: the innocent ones get
// through, and the guilty one, which gathers strikes, holds up nobody.
//
// Ordered records are never suspects, since they cannot be overtaken.

const (
	maxStrikes  = 3    // makes a suspect
	maxStricken = 1024 // records with strikes that are remembered
)

// strike counts a connection that the other side ended with these under way.
func (u *Uplink) strike(underWay []any) {
	for _, token := range underWay {
		it, ok := token.(*Item)
		if !ok || it.kind != recordKind || it.ordered {
			continue
		}
		if len(u.strikes) >= maxStricken { // records that were evicted stay in the map; begin anew
			clear(u.strikes)
		}
		u.strikes[it.position]++
		if u.strikes[it.position] == maxStrikes {
			u.cfg.Log.Warn("record is sent last: the server ended several connections while it was under way", "seq", it.id.Seq, "bytes", len(it.payload))
		}
	}
}

// suspect keeps a suspect back; false when it is none.
func (s *Sender) suspect(it *Item) bool {
	if it.ordered || s.u.strikes[it.position] < maxStrikes {
		return false
	}
	s.suspects = append(s.suspects, it)
	s.lanes[laneOf(it.priority)].held++
	return true
}

// pickSuspect takes the suspect with the fewest strikes, when nothing else is under way.
func (s *Sender) pickSuspect() *Item {
	if s.inflight > 0 || len(s.suspects) == 0 {
		return nil
	}
	best := -1
	for i, it := range s.suspects {
		if !s.barred(it) && (best < 0 || s.u.strikes[it.position] < s.u.strikes[s.suspects[best].position]) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	it := s.suspects[best]
	s.suspects = append(s.suspects[:best], s.suspects[best+1:]...)
	s.release(it)
	return it
}
