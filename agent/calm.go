package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Bounds of what one line of the log may be repeated, by its message; all vehicles' lines
// have constant messages. A broker that sends nonsense as fast as the link carries it must
// not fill the device's log.
const (
	repeatsAtOnce  = 3           // lines of one message at once; more are counted
	repeatInterval = time.Minute // then one line in that time, with the count
	maxMessages    = 512         // messages that are watched; beyond them none is written that is new
)

// calm is a handler of log records that writes repeated lines seldom. The line after some
// were left out says how many: left_out.
type calm struct {
	slog.Handler
	seen *repeats
}

type repeats struct {
	mu       sync.Mutex // guards what follows
	messages map[string]*repeat
}

type repeat struct {
	left    float64 // lines that may be written at once
	filled  time.Time
	leftOut int
}

func calmly(h slog.Handler) slog.Handler {
	return calm{h, &repeats{messages: make(map[string]*repeat)}}
}

// Handle implements slog.Handler.
func (c calm) Handle(ctx context.Context, r slog.Record) error {
	leftOut, ok := c.seen.count(r.Message, time.Now())
	if !ok {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", leftOut))
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calm{c.Handler.WithAttrs(attrs), c.seen}
}

// WithGroup implements slog.Handler.
func (c calm) WithGroup(name string) slog.Handler { return calm{c.Handler.WithGroup(name), c.seen} }

// count says whether a line may be written now, and how many before it were not.
func (s *repeats) count(message string, now time.Time) (leftOut int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[message]
	if m == nil {
		if len(s.messages) >= maxMessages {
			return 0, false
		}
		m = &repeat{left: repeatsAtOnce, filled: now}
		s.messages[message] = m
	}
	m.left = min(m.left+float64(now.Sub(m.filled))/float64(repeatInterval), repeatsAtOnce)
	m.filled = now
	if m.left < 1 {
		m.leftOut++
		return 0, false
	}
	m.left--
	leftOut, m.leftOut = m.leftOut, 0
	return leftOut, true
}
