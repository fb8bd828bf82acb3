package uplink

import "telltale.dev/protocol"

// Hold keeps records of the classes below lowest in the buffer, from now on; zero lets
// all go, and a class above the highest holds all. What is held goes when it is
// allowed again. Presence and what is under way are not held. It may be called at any time.
func (u *Uplink) Hold(lowest protocol.Priority) {
	if protocol.Priority(u.lowest.Swap(uint32(lowest))) == lowest {
		return
	}
	u.stats.add(func(s *Stats) { s.Lowest = lowest })
	u.signal()
}

// barred says whether an item is a record, or a message of the mailbox, that is held now.
func (s *Sender) barred(it *Item) bool {
	return (it.kind == recordKind || it.kind == messageKind) && it.priority < s.order.lowest
}

// heldBy is how many of a lane's records wait for something else than Hold.
func (s *Sender) heldBy(lane int) int {
	n := s.lanes[lane].held
	if s.order.lowest == protocol.PriorityUnset {
		return n
	}
	for _, list := range [][]*Item{s.held, s.suspects} {
		for _, it := range list {
			if laneOf(it.priority) == lane && s.barred(it) {
				n--
			}
		}
	}
	return n
}
