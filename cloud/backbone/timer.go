package backbone

import (
	"fmt"
	"strings"
	"time"
)

// Timer is something that is due at a time.
type Timer struct {
	// Owner is for whom it is, such as a vehicle: the bounds are counted by it, and timers of one owner and kind fire
	// one after the other. 1 to MaxTimerName bytes of any kind.
	Owner string
	// Key names it among the owner's timers of its kind. 1 to MaxTimerName bytes of any kind.
	Key string
	// At is when it fires, in the years 1 to 9999; see Timers.Run.
	At time.Time
	// Made is when it was decided that it shall fire at At, by the caller and by the same clock. The timer waits no longer
	// than At - Made, so that a clock that is set back meanwhile does not hold it.
	Made time.Time
	// Payload is at most MaxTimerPayload bytes.
	Payload []byte
}

// Limits of one timer, in bytes.
const (
	MaxTimerName    = 64
	MaxTimerPayload = 4 << 10
)

// TimerLimits bound the timers that have not fired. At a bound Schedule refuses with ErrFull: at the owner's own it alone pays,
// at that of all owners everybody does. Bytes count payload and names, and 128 more for each timer: that much is on disk and
// in memory. A timer whose handler fails counts as long as it is tried again. Fields of zero or less mean the defaults.
type TimerLimits struct {
	OwnerTimers int // of one owner, of all kinds together; 128
	OwnerBytes  int // 64 KiB
	Timers      int // of all owners; 100,000
	Bytes       int // 32 MiB
}

func (l TimerLimits) withDefaults() TimerLimits {
	for _, f := range []struct {
		field    *int
		standard int
	}{{&l.OwnerTimers, 128}, {&l.OwnerBytes, 64 << 10}, {&l.Timers, 100_000}, {&l.Bytes, 32 << 20}} {
		if *f.field <= 0 {
			*f.field = f.standard
		}
	}
	return l
}

// timerStream declares the stream that holds a record for each timer. Its limits are those of the admission: at a limit
// of its own it would refuse without regard for who fills it.
func timerStream() Stream {
	return Stream{Name: "TIMERS", Prefixes: []string{timerPrefix}, Deletes: true, vital: true}
}

// The subject of a record is timer.{kind}.{owner}.{key}; its headers are the times, in RFC 3339 with nanoseconds and UTC.
const (
	timerPrefix = "timer"
	headerAt    = "At"
	headerMade  = "Made"
)

// timerID is what a timer is found by.
type timerID struct{ kind, owner, key string }

func (id timerID) subject() string {
	return strings.Join([]string{timerPrefix, id.kind, encodeWord(id.owner), encodeWord(id.key)}, ".")
}

// check says what keeps t from being scheduled.
func (t *Timer) check() error {
	for what, name := range map[string]string{"owner": t.Owner, "key": t.Key} {
		if name == "" || len(name) > MaxTimerName {
			return fmt.Errorf("timer's %s has %d bytes, expected 1 to %d: %w", what, len(name), MaxTimerName, ErrInvalid)
		}
	}
	for what, at := range map[string]time.Time{headerAt: t.At, headerMade: t.Made} {
		if year := at.UTC().Year(); at.IsZero() || year < 1 || year > 9999 {
			return fmt.Errorf("timer's %s: expected a time in the years 1 to 9999: %w", what, ErrInvalid)
		}
	}
	if len(t.Payload) > MaxTimerPayload {
		return fmt.Errorf("timer's payload has %d bytes, expected at most %d: %w", len(t.Payload), MaxTimerPayload, ErrTooLarge)
	}
	return nil
}

// size is what a timer counts in bytes.
func (t *Timer) size() int { return len(t.Owner) + len(t.Key) + len(t.Payload) + messageOverhead }

// span is how long a timer waits at most.
func (t *Timer) span() time.Duration { return min(max(t.At.Sub(t.Made), 0), maxSpan) }

// maxSpan keeps sums of durations from overflowing.
const maxSpan = 200 * 365 * 24 * time.Hour

// record writes a timer.
func (t *Timer) record(kind string) Message {
	return Message{
		Subject: timerID{kind, t.Owner, t.Key}.subject(), Data: t.Payload,
		Header: map[string]string{headerAt: t.At.UTC().Format(time.RFC3339Nano), headerMade: t.Made.UTC().Format(time.RFC3339Nano)},
	}
}

// parseTimer reads a record.
func parseTimer(m Message) (kind string, t Timer, err error) {
	parts := strings.Split(m.Subject, ".")
	if len(parts) != 4 {
		return "", t, fmt.Errorf("subject has %d parts, expected 4: %w", len(parts), ErrInvalid)
	}
	kind, t.Payload = parts[1], m.Data
	if t.Owner, err = decodeWord(parts[2]); err != nil {
		return "", t, err
	}
	if t.Key, err = decodeWord(parts[3]); err != nil {
		return "", t, err
	}
	for name, at := range map[string]*time.Time{headerAt: &t.At, headerMade: &t.Made} {
		if *at, err = time.Parse(time.RFC3339Nano, m.Header[name]); err != nil {
			return "", t, fmt.Errorf("header %s: expected a time: %w", name, ErrInvalid)
		}
	}
	return kind, t, t.check()
}
