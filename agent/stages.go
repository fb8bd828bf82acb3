package agent

import (
	"context"
	"time"

	"telltale.dev/agent/link"
	"telltale.dev/agent/outbox"
	"telltale.dev/agent/power"
	"telltale.dev/protocol"
)

// onlineAtLeast is how long a connection lasts before all counts as uploaded: so
// long the cloud has to bring what it kept for us.
const onlineAtLeast = 5 * time.Second

// stages is what agent/power and agent/outbox need of the other stages.
type stages struct{ a *Agent }

var (
	_ power.Line    = stages{}
	_ power.Flusher = stages{}
	_ outbox.Direct = stages{}
)

// Send implements outbox.Direct.
func (s stages) Send(m outbox.Message) {
	s.a.link.Send(link.Message{
		Topic: m.Topic, ContentType: m.ContentType, Class: m.Class, QoS: m.QoS,
		Created: m.Created, TTL: m.TTL, Newest: m.Newest, Payload: m.Payload,
	})
}

// Flush implements power.Flusher: the open batches, and what the cloud has acknowledged.
func (s stages) Flush(ctx context.Context) error {
	if err := s.a.batch.Flush(ctx); err != nil {
		return err
	}
	return s.a.buffer.Flush()
}

// Uploaded implements power.Line.
func (s stages) Uploaded() bool {
	link := s.a.link.Stats()
	return link.Connected && time.Since(link.Since) >= onlineAtLeast && s.a.sendable() == 0
}

// Leave implements power.Line.
func (s stages) Leave(ctx context.Context, asleep bool, wakes time.Time, within time.Duration) error {
	return s.a.link.Leave(ctx, link.Goodbye{Asleep: asleep, Wakes: wakes, Within: within})
}

// Return implements power.Line.
func (s stages) Return() { s.a.link.Return() }

// sendable is the number of records that wait and may go now.
func (a *Agent) sendable() (n uint64) {
	waiting, lowest := a.buffer.Stats().Classes, a.link.Stats().Lowest
	for class := max(lowest, protocol.CS0); class <= protocol.CS6; class++ {
		n += waiting[class].Records
	}
	return n
}
