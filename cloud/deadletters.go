package cloud

import (
	"context"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
)

// deadLetterWait is how long a listing waits for a slow disk.
const deadLetterWait = 2 * time.Second

// DeadLetters implements api.Deliveries: the newest limit letters, oldest first.
func (v views) DeadLetters(ctx context.Context, limit int) ([]api.DeadLetter, error) {
	list := []api.DeadLetter{}
	info, err := v.backbone.Info(ctx, backbone.Dead)
	if err != nil || info.Messages == 0 {
		return list, err
	}
	from := info.First
	if newest := uint64(limit); info.Last >= newest {
		from = max(from, info.Last-newest+1)
	}
	for len(list) < limit && from <= info.Last {
		messages, err := v.backbone.Read(ctx, backbone.Dead, from, limit-len(list), deadLetterWait)
		if err != nil || len(messages) == 0 {
			return list, err
		}
		for _, m := range messages {
			list = append(list, deadLetter(m))
			from = m.Sequence + 1
		}
	}
	return list, nil
}

func deadLetter(m backbone.Message) api.DeadLetter {
	topic, _ := protocol.ParseTopic(m.Header[ingest.HeaderTopic])
	return api.DeadLetter{
		Sequence: m.Sequence, Stored: m.Stored, Bytes: len(m.Data), Vehicle: string(topic.Vehicle),
		Reason: m.Header[ingest.HeaderReason], Detail: m.Header[ingest.HeaderDetail],
	}
}

// Replay implements api.Deliveries.
func (v views) Replay(ctx context.Context, reason string) (int, error) {
	done, err := v.replayer.Replay(ctx, ingest.Filter{Reason: protocol.Reason(reason)})
	return int(done.Published), err
}
