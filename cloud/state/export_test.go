package state

// PartSignals is exported for tests of snapshots of several parts.
const PartSignals = partSignals

// HistoryTurns is exported for tests of histories on disk.
const HistoryTurns = historyTurns

// SetBounds sets other bounds than MaxHistory and MaxHistories.
func (s *States) SetBounds(vehicle, all int) { s.bounds = bounds{vehicle, all} }

// ParseHistories reads an entry of histories.
func ParseHistories(entry []byte, each func(signal uint64, p Point)) error {
	return parseHistories(entry, each)
}
