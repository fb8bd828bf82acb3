package backbone

import "time"

// costs tells when an atomic batch is cheaper than single publishes. A single
// publish costs one sync. A batch costs the same whatever its size: the server first stages it
// in a directory of its own (six syncs and a dozen names made and removed, counted with strace),
// as much as 25 single publishes on a fast disk. Both are measured while they are used. Owned by the committer's run.
type costs struct {
	single time.Duration // of one message published singly
	atomic time.Duration // of one atomic batch
}

// First guesses, of a solid-state disk, and the bounds of what is learned: a
// disk that stalls once must not change the choice for good.
const (
	firstSingle = 200 * time.Microsecond
	firstAtomic = 4 * time.Millisecond
	minAtomic   = 4
	maxAtomic   = 64
)

func newCosts() costs { return costs{single: firstSingle, atomic: firstAtomic} }

// breakEven is the number of messages from which on a batch is used.
func (c *costs) breakEven() int {
	return min(max(int(c.atomic/max(c.single, 1)), minAtomic), maxAtomic)
}

// learnSingle takes the time of n messages published singly.
func (c *costs) learnSingle(n int, took time.Duration) {
	c.single += (took/time.Duration(n) - c.single) / 8
}

// learnAtomic takes the time of one batch.
func (c *costs) learnAtomic(took time.Duration) { c.atomic += (took - c.atomic) / 8 }
