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

// line is what agent/power and agent/outbox need of the other stages.
type line struct{ a *Agent }

var (
	_ power.Line    = line{}
	_ power.Flusher = line{}
	_ outbox.Line   = line{}
)

// Send implements outbox.Line.
func (l line) Send(m outbox.Message) {
	l.a.link.Send(link.Message{
		Topic: m.Topic, ContentType: m.ContentType, Class: m.Class, QoS: m.QoS,
		Created: m.Created, TTL: m.TTL, Newest: m.Newest, Payload: m.Payload,
	})
}

// Flush implements power.Flusher: the open batches, and what the cloud has acknowledged.
func (l line) Flush(ctx context.Context) error {
	if err := l.a.batch.Flush(ctx); err != nil {
		return err
	}
	return l.a.buffer.Flush()
}

// Uploaded implements power.Line.
func (l line) Uploaded() bool {
	s := l.a.link.Stats()
	return s.Connected && time.Since(s.Since) >= onlineAtLeast && l.a.sendable() == 0
}

// Leave implements power.Line.
func (l line) Leave(ctx context.Context, asleep bool, wakes time.Time, within time.Duration) error {
	return l.a.link.Leave(ctx, link.Goodbye{Asleep: asleep, Wakes: wakes, Within: within})
}

// Return implements power.Line.
func (l line) Return() { l.a.link.Return() }

// sendable is the number of records that wait and may go now.
func (a *Agent) sendable() (n uint64) {
	waiting, lowest := a.buffer.Stats().Classes, a.link.Stats().Lowest
	for class := max(lowest, protocol.CS0); class <= protocol.CS6; class++ {
		n += waiting[class].Records
	}
	return n
}
