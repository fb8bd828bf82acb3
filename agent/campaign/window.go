package campaign

import "time"

// Window lets a rule collect only around moments, from Pre before to Post after each. Documents cannot ask for it yet:
// Compile gives no rule a Window.
type Window struct {
	Pre, Post time.Duration
	Trigger   Trigger
}

// Trigger says when a moment is. Its values can be compared: triggers that are equal fire at the same rows.
type Trigger interface {
	// Fires says whether a row of a group of the catalogue makes a moment, with its time in µs since the Unix epoch and
	// its raw values in the group's order, which are not to be kept. It is called for each row, so it must be quick.
	Fires(group int32, t int64, raw []int64) bool
}
