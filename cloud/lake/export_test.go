package lake

// Doors for the tests of this package.

// BoundFiles sets how many bytes a file of the checkpoint may have.
func (l *Lake) BoundFiles(most int64) { l.maxFile = most }

// OnStep sets what is called after each step of a commit.
func (l *Lake) OnStep(f func(step string) error) { l.step = f }

// AppendCheckpoint is a base or link of a checkpoint as it is written.
func AppendCheckpoint(stream string, after, last uint64, ledger []byte) []byte {
	return appendCheckpoint(nil, stream, link{after: after, last: last, next: last + 1, ledger: ledger})
}

// ParseCheckpoint reads it, and what the version before wrote.
func ParseCheckpoint(data []byte, stream string) (after, last, next uint64, ledger []byte, err error) {
	k, err := parseCheckpoint(data, stream)
	return k.after, k.last, k.next, k.ledger, err
}

// FoldLinks is how many links are folded.
const FoldLinks = foldLinks

// Signals is how many signals are kept ready.
func (l *Lake) Signals() int { return len(l.signals.signals) }
