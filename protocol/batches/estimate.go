package batches

import "math/bits"

// estimator guesses the size of a payload while rows come in: the bits that
// change from row to row, times what such a bit cost in the batch before.
// It must notice data that suddenly became noise, for a payload has to stay
// below the largest packet.
type estimator struct {
	changed uint64  // bits that differ from the row before
	cost    float64 // bytes per changed bit; 0 until learned
}

// Sizes that the estimate starts from.
const (
	headerCost    = 64       // bytes of a batch without rows
	rowCost       = 0.25     // bytes of a row's time
	firstCost     = 1.0 / 12 // bytes of a changed bit until learned
	lowestCost    = 1.0 / 32 // what is learned is kept within these bounds,
	highestCost   = 1.0 / 6  // so that one odd batch does not spoil the next
	changedSample = 12       // bits that a sample in a row with a bitmap counts as
)

func (s *estimator) reset() { s.changed = 0 }

func (s *estimator) add(raw, before []int64) {
	n := 0
	for i, v := range raw {
		n += bits.Len64(uint64(v ^ before[i]))
	}
	s.changed += uint64(n)
}

func (s *estimator) addChanged(samples int) { s.changed += uint64(samples) * changedSample }

func (s *estimator) size(rows int) int {
	cost := s.cost
	if cost == 0 {
		cost = firstCost
	}
	return int(headerCost + rowCost*float64(rows) + cost*float64(s.changed))
}

// learn compares the estimate with the real size.
func (s *estimator) learn(rows, size int) {
	if s.changed == 0 {
		return
	}
	cost := (float64(size) - headerCost - rowCost*float64(rows)) / float64(s.changed)
	s.cost = min(max(cost, lowestCost), highestCost)
}
