package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
)

// Filter picks dead letters; its zero value picks all.
type Filter struct {
	Stream  string             // that the message came from: "UP"
	Reason  reasons.Reason     //
	Vehicle protocol.VehicleID //
	Device  protocol.DeviceID  //
}

func (f Filter) picks(m *Message) bool {
	stream, _, _ := strings.Cut(m.Header[HeaderOrigin], "/")
	if f.Stream != "" && f.Stream != stream ||
		f.Reason != "" && string(f.Reason) != m.Header[HeaderReason] ||
		f.Device != "" && string(f.Device) != m.Header[HeaderDevice] {
		return false
	}
	if f.Vehicle == "" {
		return true
	}
	t, err := topics.Parse(m.Header[HeaderTopic])
	return err == nil && t.Vehicle == f.Vehicle
}

// Replayer puts dead letters back into the streams they came from. Doing that
// twice is harmless: what was stored meanwhile is dropped, and not counted as a
// duplicate; what still cannot be decoded gets no second letter.
type Replayer struct {
	Dead      Stream    // the dead-letter stream
	Publisher Publisher // of the streams
}

// Replayed says what a replay did.
type Replayed struct {
	Read      int `json:"read"`      // dead letters looked at
	Published int `json:"published"` // put back
	Repeated  int `json:"repeated"`  // second letters of one message, left out
}

// replayTries is how often a letter is offered to a busy stream.
const replayTries = 10

// Replay puts back all dead letters that the filter picks and that were there
// when it began. It stops at the first one that its stream does not take.
func (r *Replayer) Replay(ctx context.Context, filter Filter) (Replayed, error) {
	var sum Replayed
	until := ^uint64(0)
	if ended, ok := r.Dead.(Newest); ok {
		last, err := ended.Last(ctx)
		if err != nil {
			return sum, fmt.Errorf("replay: %w", err)
		}
		until = last
	}
	seen := make(map[string]bool) // origins: a crash between letter and commit writes a second letter
	for next := uint64(1); next <= until; {
		letters, err := r.Dead.Read(ctx, next, readMessages, DefaultPoll)
		if err != nil {
			return sum, fmt.Errorf("replay: %w", err)
		}
		if len(letters) == 0 {
			break
		}
		next = letters[len(letters)-1].Sequence + 1
		n, err := r.publish(ctx, sum.pick(letters, filter, seen))
		sum.Published += n
		if err != nil {
			return sum, fmt.Errorf("replay: %w", err)
		}
	}
	return sum, nil
}

// pick makes the messages of the letters that the filter picks, and counts.
func (sum *Replayed) pick(letters []Message, filter Filter, seen map[string]bool) (out []Message) {
	for i := range letters {
		sum.Read++
		m := &letters[i]
		if m.Header[HeaderSubject] == "" || !filter.picks(m) {
			continue
		}
		origin := LetterIdentity(m.Header)
		if seen[origin] {
			sum.Repeated++
			continue
		}
		seen[origin] = true
		out = append(out, revive(m))
	}
	return out
}

// LetterIdentity names what a dead letter is about, so that two letters of the same are told: the
// message, and the consumer that did not take it.
func LetterIdentity(header map[string]string) string {
	return header[HeaderOrigin] + " " + header[HeaderConsumer]
}

// revive makes the original message of a dead letter, marked by its origin.
func revive(m *Message) Message {
	h := maps.Clone(m.Header)
	delete(h, HeaderReason)
	delete(h, HeaderDetail)
	delete(h, HeaderSubject)
	delete(h, HeaderMessage)
	return Message{Subject: m.Header[HeaderSubject], Header: h, Data: m.Data}
}

// publish puts messages into their streams, all at once, and again those that found it busy.
func (r *Replayer) publish(ctx context.Context, out []Message) (n int, err error) {
	pause := retryMin
	for try := 1; len(out) > 0; try++ {
		var mu sync.Mutex // guards the three below
		var busy []Message
		var failed error
		var wait sync.WaitGroup
		wait.Add(len(out))
		for _, m := range out {
			r.Publisher.Publish(m, func(_ uint64, err error) {
				defer wait.Done()
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					n++
				case errors.Is(err, ErrBusy) && try < replayTries:
					busy = append(busy, m)
				default:
					failed = err
				}
			})
		}
		wait.Wait()
		if failed != nil {
			return n, failed
		}
		if out = busy; len(out) > 0 && !sleep(ctx, pause) {
			return n, ctx.Err()
		}
		pause = min(2*pause, time.Second)
	}
	return n, nil
}
