package protocol

import (
	"fmt"
	"time"
)

// Priority is the class of service of a message, CS0 (bulk) to CS6 (crash), in
// the words of RFC 4594. The numbers are ours: zero means unset.
type Priority uint8

// The classes, lowest first. Append-only: buffers on disk hold these numbers.
const (
	PriorityUnset Priority = iota
	CS0
	CS1
	CS2
	CS3
	CS4
	CS5
	CS6
)

// Priorities is the number of classes, not counting unset.
const Priorities = int(CS6)

// Hot says whether the class travels in the hot lane (CS3 and above) rather than in the bulk lane.
func (p Priority) Hot() bool { return p >= CS3 }

// Urgent says whether the class is committed within the short interval (CS4 and above).
func (p Priority) Urgent() bool { return p >= CS4 }

// TimeToLive is how long a vehicle keeps a record of the class for the cloud; unset is as bulk.
func (p Priority) TimeToLive() time.Duration {
	const day = 24 * time.Hour
	switch {
	case p >= CS5:
		return 7 * day
	case p.Hot():
		return day
	}
	return 30 * day
}

// String gives "CS0" to "CS6", or "" for unset.
func (p Priority) String() string {
	if p == PriorityUnset || p > CS6 {
		return ""
	}
	return "CS" + string('0'+byte(p-CS0))
}

// ParsePriority reads what String writes; the empty string is an error.
func ParsePriority(s string) (Priority, error) {
	if len(s) == 3 && s[:2] == "CS" && s[2] >= '0' && s[2] <= '6' {
		return CS0 + Priority(s[2]-'0'), nil
	}
	return PriorityUnset, fmt.Errorf("priority %.16q: expected CS0 to CS6", s)
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (p Priority) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: it reads what MarshalText
// writes, so that empty text is unset; see ParsePriority.
func (p *Priority) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*p = PriorityUnset
		return nil
	}
	*p, err = ParsePriority(string(text))
	return err
}
