package j1939

import (
	"fmt"
	"strings"
)

// Reason says why a message that began was not put together.
type Reason uint8

// The reasons.
const (
	Timeout       Reason = iota // the next frame came later than the standard allows
	MissingPart                 // a part was left out, or came in another order
	Contradiction               // a part came again with other bytes
	ShortPart                   // a part held fewer bytes than the message needs of it
	Replaced                    // its sender began another one to the same receiver
	Aborted                     // sender or receiver gave it up
	TooMany                     // MaxSessions others were open; the one that began first gave way
	FramesLost                  // frames of the bus were lost meanwhile
	Unfinished                  // the frames ended
	reasons
)

// String gives the reason in words.
func (r Reason) String() string {
	switch r {
	case Timeout:
		return "timeout"
	case MissingPart:
		return "part missing or out of order"
	case Contradiction:
		return "part repeated with other bytes"
	case ShortPart:
		return "part too short"
	case Replaced:
		return "replaced by the next one"
	case Aborted:
		return "aborted"
	case TooMany:
		return "too many at once"
	case FramesLost:
		return "frames lost"
	case Unfinished:
		return "not finished at the end"
	}
	return fmt.Sprintf("reason %d", r)
}

// Counts says what became of the messages of a bus. The zero Counts has seen nothing.
type Counts struct {
	Complete   uint64          // messages that were put together
	Incomplete [reasons]uint64 // messages that began and were not, by Reason
	Malformed  uint64          // TP.CM frames that mean nothing: a wrong length, size or parameter group
	Stray      uint64          // TP.DT frames of no message that is open
}

// Plus adds two Counts.
func (c Counts) Plus(o Counts) Counts {
	c.Complete += o.Complete
	c.Malformed += o.Malformed
	c.Stray += o.Stray
	for i, n := range o.Incomplete {
		c.Incomplete[i] += n
	}
	return c
}

// Lost is the number of messages that began and were not put together.
func (c Counts) Lost() (n uint64) {
	for _, of := range c.Incomplete {
		n += of
	}
	return n
}

// Trouble says in words what was not put together, such as "3 incomplete (2 timeout, 1 aborted)"; empty when there is nothing.
func (c Counts) Trouble() string {
	var parts, why []string
	for i, n := range c.Incomplete {
		if n > 0 {
			why = append(why, fmt.Sprintf("%d %v", n, Reason(i)))
		}
	}
	if len(why) > 0 {
		parts = append(parts, fmt.Sprintf("%d incomplete (%s)", c.Lost(), strings.Join(why, ", ")))
	}
	if c.Malformed > 0 {
		parts = append(parts, fmt.Sprintf("%d malformed TP.CM frames", c.Malformed))
	}
	if c.Stray > 0 {
		parts = append(parts, fmt.Sprintf("%d TP.DT frames without a beginning", c.Stray))
	}
	return strings.Join(parts, ", ")
}
