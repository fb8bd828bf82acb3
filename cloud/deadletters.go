package cloud

import (
	"context"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
)

// deadLetterWait is how long a listing waits for a slow disk.
const deadLetterWait = 2 * time.Second

// DeadLetters implements api.Deliveries: the newest limit letters, oldest first. Of two
// letters of one message, which earlier versions wrote when they crashed, the first is shown.
func (v views) DeadLetters(ctx context.Context, limit int) ([]api.DeadLetter, error) {
	list, seen := []api.DeadLetter{}, map[string]bool{}
	info, err := v.backbone.Info(ctx, backbone.Dead)
	if err != nil || info.Messages == 0 {
		return list, err
	}
	from := info.First
	if newest := uint64(limit); info.Last >= newest {
		from = max(from, info.Last-newest+1)
	}
	err = v.eachLetter(ctx, from, info.Last, func(m backbone.Message) error {
		if origin := ingest.LetterIdentity(m.Header); !seen[origin] && len(list) < limit {
			seen[origin] = true
			list = append(list, deadLetter(m))
		}
		return nil
	})
	return list, err
}

// eachLetter calls f with the letters from … to.
func (v views) eachLetter(ctx context.Context, from, to uint64, f func(backbone.Message) error) error {
	const atOnce = 256
	for from <= to {
		messages, err := v.backbone.Read(ctx, backbone.Dead, from, int(min(to-from+1, atOnce)), deadLetterWait)
		if err != nil {
			return err
		}
		if len(messages) == 0 { // silence is not the end: the stream says what it has
			next, err := v.backbone.Next(ctx, backbone.Dead, from)
			if err != nil || next == 0 || next > to {
				return err
			}
			from = next
			continue
		}
		for _, m := range messages {
			if m.Sequence > to {
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

func deadLetter(m backbone.Message) api.DeadLetter {
	topic, _ := topics.Parse(m.Header[ingest.HeaderTopic])
	out := api.DeadLetter{
		Sequence: m.Sequence, Stored: m.Stored, Bytes: len(m.Data), Vehicle: string(topic.Vehicle), Device: m.Header[ingest.HeaderDevice],
		Reason: m.Header[ingest.HeaderReason], Detail: m.Header[ingest.HeaderDetail],
	}
	id, err := protocol.ParseMessageID(m.Header[ingest.HeaderMessage])
	if err != nil { // a letter of an earlier version
		id, err = protocol.ParseMessageID(m.Header[ingest.HeaderProperty+protocol.PropMessageID])
	}
	if err == nil {
		out.Boot, out.Number = id.Boot.String(), id.Seq
	}
	return out
}

var _ api.Dismisser = views{}

// Dismiss implements api.Dismisser.
func (v views) Dismiss(ctx context.Context, sequence uint64) (bool, error) {
	return v.backbone.Delete(ctx, backbone.Dead, sequence)
}

// DismissAll implements api.Dismisser.
func (v views) DismissAll(ctx context.Context, reason string) (n int, err error) {
	info, err := v.backbone.Info(ctx, backbone.Dead)
	if err != nil || info.Messages == 0 {
		return 0, err
	}
	err = v.eachLetter(ctx, info.First, info.Last, func(m backbone.Message) error {
		if reason != "" && m.Header[ingest.HeaderReason] != reason {
			return nil
		}
		found, err := v.backbone.Delete(ctx, backbone.Dead, m.Sequence)
		if found {
			n++
		}
		return err
	})
	return n, err
}

// Replay implements api.Deliveries.
func (v views) Replay(ctx context.Context, reason string) (int, error) {
	done, err := v.replayer.Replay(ctx, ingest.Filter{Reason: reasons.Reason(reason)})
	return int(done.Published), err
}
