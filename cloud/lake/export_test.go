package lake

// Doors for the tests of this package.

// OnStep sets what is called after each step of a commit.
func (l *Lake) OnStep(f func(step string) error) { l.step = f }

// AppendCheckpoint and ParseCheckpoint are the checkpoint's bytes, both ways.
var (
	AppendCheckpoint = appendCheckpoint
	ParseCheckpoint  = parseCheckpoint
)
