package slots

import "io"

// JudgeBy lets a test decide how an update file begins.
func (o *Owner) JudgeBy(open func(r io.Reader) (image io.Reader, size int64, err error)) {
	o.open = open
}
