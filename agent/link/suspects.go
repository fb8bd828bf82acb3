package link

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
func (l *Link) strike(underWay []*item) {
	for _, it := range underWay {
		if it.kind != recordKind || it.ordered {
			continue
		}
		if len(l.strikes) >= maxStricken { // records that were evicted stay in the map; begin anew
			clear(l.strikes)
		}
		l.strikes[it.position]++
		if l.strikes[it.position] == maxStrikes {
			l.cfg.Log.Warn("record is sent last: the server ended several connections while it was under way", "seq", it.id.Seq, "bytes", len(it.payload))
		}
	}
}

// suspect keeps a suspect back; false when it is none.
func (s *sender) suspect(it *item) bool {
	if it.ordered || s.l.strikes[it.position] < maxStrikes {
		return false
	}
	s.suspects = append(s.suspects, it)
	s.lanes[laneOf(it.priority)].held++
	return true
}

// pickSuspect takes the suspect with the fewest strikes, when nothing else is under way.
func (s *sender) pickSuspect() *item {
	if s.inflight > 0 || len(s.suspects) == 0 {
		return nil
	}
	best := -1
	for i, it := range s.suspects {
		if !s.barred(it) && (best < 0 || s.l.strikes[it.position] < s.l.strikes[s.suspects[best].position]) {
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
