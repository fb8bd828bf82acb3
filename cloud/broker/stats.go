package broker

import "sync/atomic"

// counters are since the start of the broker.
type counters struct {
	publishes, publishBytes                       atomic.Uint64
	delivered, droppedQoS0, tooLarge, expired     atomic.Uint64
	cutSessions, expiredSessions                  atomic.Uint64
	failedConnects, panics                        atomic.Uint64
	queued, queuedBytes                           atomic.Int64
	refused, connects, subscriptions, disconnects [256]atomic.Uint64 // by reason code
	acknowledged                                  [256]atomic.Uint64 // the same
}

// Stats are counts since the start, and gauges of now.
type Stats struct {
	Connections int // gauge: with an accepted CONNECT
	Sessions    int // gauge: connected or waiting for their client
	Waking      int // gauge: sessions without connection that have a will or an expiry ahead

	Publishes     uint64          // handed to the Handler
	PublishBytes  uint64          // their payload
	Refused       map[byte]uint64 // publishes refused, by PUBACK code, by the broker or by the Handler
	Inflight      int64           // gauge: publishes that the Handler holds
	InflightBytes int64           // gauge

	Delivered uint64 // messages handed to connections
	// Acknowledged are those of QoS 1, by the PUBACK code of the client.
	Acknowledged map[byte]uint64
	Queued       int64  // gauge: messages waiting for sessions
	QueuedBytes  int64  // gauge
	DroppedQoS0  uint64 // QoS 0 messages dropped, either way
	TooLarge     uint64 // messages above the receiver's maximum packet size
	Expired      uint64 // messages that expired while they waited

	CutSessions     uint64 // queue overflowed with QoS 1 messages
	ExpiredSessions uint64

	RefusedConnects      map[byte]uint64 // by CONNACK code
	RefusedSubscriptions map[byte]uint64 // filters, by SUBACK code
	Disconnects          map[byte]uint64 // connections ended by the broker, by code
	FailedConnects       uint64          // ended before an accepted CONNECT: handshake, timeout, refusal
	Panics               uint64          // malformed packets that the decoder did not survive
}

// Stats may be called at any time.
func (b *Broker) Stats() Stats {
	c := &b.counters
	s := Stats{
		Publishes: c.publishes.Load(), PublishBytes: c.publishBytes.Load(), Refused: byCode(&c.refused),
		Inflight: b.inflight.Load(), InflightBytes: b.inflightBytes.Load(),
		Delivered: c.delivered.Load(), Queued: c.queued.Load(), QueuedBytes: c.queuedBytes.Load(),
		DroppedQoS0: c.droppedQoS0.Load(), TooLarge: c.tooLarge.Load(), Expired: c.expired.Load(),
		CutSessions: c.cutSessions.Load(), ExpiredSessions: c.expiredSessions.Load(),
		Acknowledged: byCode(&c.acknowledged), RefusedConnects: byCode(&c.connects), RefusedSubscriptions: byCode(&c.subscriptions),
		Disconnects:    byCode(&c.disconnects),
		FailedConnects: c.failedConnects.Load(), Panics: c.panics.Load(),
		Waking: b.schedule.len(),
	}
	b.mu.Lock()
	s.Connections, s.Sessions = b.connected, len(b.sessions)
	b.mu.Unlock()
	return s
}

func byCode(counts *[256]atomic.Uint64) map[byte]uint64 {
	m := make(map[byte]uint64)
	for code := range counts {
		if n := counts[code].Load(); n > 0 {
			m[byte(code)] = n
		}
	}
	return m
}
