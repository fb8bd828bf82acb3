package ingest

import (
	"context"
	"time"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// letterWait is how long a listing waits for a slow disk.
const letterWait = 2 * time.Second

// LetterBox is the stream of dead letters, for people.
type LetterBox struct{ backbone.Feed }

// DeadLetter is a stored message that could not be decoded, as the API shows it.
type DeadLetter struct {
	Sequence uint64    `json:"sequence"`
	Stored   time.Time `json:"stored"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail,omitempty"`
	Vehicle  string    `json:"vid"`
	Device   string    `json:"did,omitempty"`
	Boot     string    `json:"boot,omitempty" doc:"of the device, as far as it can be read"`
	Number   uint64    `json:"seq,omitempty" doc:"of the message in its boot, as far as it can be read"`
	Bytes    int       `json:"bytes"`
}

// Newest gives the newest limit letters, oldest first. Of two letters of one message, which earlier versions wrote when
// they crashed, the first is shown.
func (b LetterBox) Newest(ctx context.Context, limit int) ([]DeadLetter, error) {
	list, seen := []DeadLetter{}, map[string]bool{}
	first, last, err := b.Kept(ctx)
	if err != nil {
		return list, err
	}
	if newest := uint64(limit); last >= newest {
		first = max(first, last-newest+1)
	}
	err = b.each(ctx, first, last, func(m *Message) error {
		if origin := LetterIdentity(m.Header); !seen[origin] && len(list) < limit {
			seen[origin] = true
			list = append(list, shownLetter(m))
		}
		return nil
	})
	return list, err
}

// each calls f with the letters first … last.
func (b LetterBox) each(ctx context.Context, first, last uint64, f func(*Message) error) error {
	const atOnce = 256
	for from := max(1, first); from <= last; {
		messages, err := b.Read(ctx, from, int(min(last-from+1, atOnce)), letterWait)
		if err != nil {
			return err
		}
		if len(messages) == 0 { // silence is not the end: the stream says what it has
			next, err := b.Next(ctx, from)
			if err != nil || next == 0 || next > last {
				return err
			}
			from = next
			continue
		}
		for i := range messages {
			m := &messages[i]
			if m.Sequence > last {
				return nil
			}
			if err := f(m); err != nil {
				return err
			}
			from = m.Sequence + 1
		}
	}
	return nil
}

func shownLetter(m *Message) DeadLetter {
	topic, _ := topics.Parse(m.Header[HeaderTopic])
	out := DeadLetter{
		Sequence: m.Sequence, Stored: m.Stored, Bytes: len(m.Data), Vehicle: string(topic.Vehicle), Device: m.Header[HeaderDevice],
		Reason: m.Header[HeaderReason], Detail: m.Header[HeaderDetail],
	}
	id, err := protocol.ParseMessageID(m.Header[HeaderMessage])
	if err != nil { // a letter of an earlier version
		id, err = protocol.ParseMessageID(m.Header[HeaderProperty+protocol.PropMessageID])
	}
	if err == nil {
		out.Boot, out.Number = id.Boot.String(), id.Seq
	}
	return out
}

// Dismiss deletes the letters with a reason, or all when it is empty, and says how many.
func (b LetterBox) Dismiss(ctx context.Context, reason string) (int, error) {
	return b.dismiss(ctx, func(m *Message) bool { return reason == "" || m.Header[HeaderReason] == reason })
}

// Forget deletes the letters of a vehicle that was deleted.
func (b LetterBox) Forget(ctx context.Context, vid protocol.VehicleID) error {
	_, err := b.dismiss(ctx, func(m *Message) bool { return topicOf(m).Vehicle == vid })
	return err
}

func (b LetterBox) dismiss(ctx context.Context, picks func(*Message) bool) (n int, err error) {
	first, last, err := b.Kept(ctx)
	if err != nil {
		return 0, err
	}
	err = b.each(ctx, first, last, func(m *Message) error {
		if !picks(m) {
			return nil
		}
		found, err := b.Delete(ctx, m.Sequence)
		if found {
			n++
		}
		return err
	})
	return n, err
}
