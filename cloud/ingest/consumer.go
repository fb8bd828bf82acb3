package ingest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

// ErrUnreadable is what a consumer's error wraps when a message will never be better: it
// becomes a dead letter at once.
var ErrUnreadable = errors.New("message cannot be read")

// Consumer is told of new messages of a stream, those of a vehicle in the stream's order, by
// one goroutine for each stream. It need not be quick: while it is not, the stream keeps what is for it.
//
// There is no way to lose a message by an error. An error means "not now": the message is
// offered again with a back-off, those of the same vehicle behind it wait, those of others
// do not. What is refused for ProcessorConfig.Patience, or stands in the way when the stream
// needs room, becomes a dead letter that names the consumer, and a replay brings it back to it alone.
//
// Each message is offered once, however often the vehicle sent it. Only after a crash those
// come again that were not noted yet, in the same order: a consumer that needs more than
// "the newest word counts" remembers device, boot and sequence with what it makes of them.
type Consumer struct {
	Name string // 1 to 32 of a to z and -; in dead letters, and the key of its checkpoint
	// Wants says which messages it is told of; nil: all. It must not block.
	Wants func(topics.Topic) bool
	// Batch takes a telemetry batch, and Other any other message; nil: none of them.
	Batch func(ctx context.Context, b *Decoded) error
	Word  func(ctx context.Context, m *Word) error
	// Save makes durable what Batch and Other made of the messages. It may be called beside them.
	// Nil: it is durable when they return.
	Save func(ctx context.Context) error
}

func (c *Consumer) wants(t topics.Topic) bool {
	if t.Kind == topics.Telemetry && c.Batch == nil || t.Kind != topics.Telemetry && c.Word == nil {
		return false
	}
	return c.Wants == nil || c.Wants(t)
}

// Bounds of what is in memory for one consumer of one stream. The consumer reads what is beyond
// them from the stream itself, so that nobody else pays.
const (
	handedMessages = 2048    // what comes in at once while the consumer is at another message must not be read twice
	handedCells    = 1 << 19 // values of batches, 8 bytes each; see handed.cells
)

// Bounds of what a consumer refuses.
const (
	// DefaultPatience is long enough for an operator to make room on a disk after a night.
	DefaultPatience = 24 * time.Hour
	// minTries is how often a message is offered at least, also after the patience.
	minTries = 4
	// maxOwed is how many messages of one stream a consumer may refuse before the oldest become dead letters. Their
	// places are some 300 kB in its checkpoint.
	maxOwed = 1 << 16
	// holdMin and holdMax are the times between two offers of one vehicle's message. Even the
	// shortest is longer than the pause after a refusal, so that others have their turn in between.
	holdMin = 5 * retryMin
	holdMax = time.Minute
)

// handed is a message on its way to a consumer: either a batch or another one.
type handed struct {
	message *Message
	topic   topics.Topic
	replay  bool // of a dead letter of this consumer
	batch   *Decoded
	other   *Word
}

// cells is what it takes of handedCells.
func (h *handed) cells() int {
	if h.batch != nil {
		return h.batch.cells
	}
	const overhead = 64 // topic and properties, in memory about 512 bytes
	return len(h.message.Data)/8 + overhead
}

// hold is a vehicle whose message was refused.
type hold struct {
	next  time.Time // when it is offered again
	pause time.Duration
	tries int
}

// consumer hands on to one Consumer. Processor.Run calls hand; the goroutine of run does the rest.
//
// A message that is to be done is in one of these places, in a vehicle's order:
//
//	busy ← owed (read again from the stream)   when owed is not empty, what comes goes there
//	busy ← queue (in memory)                   else
type consumer struct {
	Consumer
	p       *Processor
	origin  start // what was done before this start
	schemas schemaCache
	again   rereader
	holds   map[protocol.VehicleID]*hold    // owned by run
	passed  map[protocol.VehicleID]struct{} // owned by run: those passed over in this pass, also when their time comes in the middle of it
	pause   time.Duration                   // owned by run: after a refusal, before anything else is offered
	wake    chan struct{}

	durable atomic.Uint64 // the stream may forget up to here
	dead    atomic.Uint64
	tries   atomic.Uint64 // refusals
	gone    atomic.Uint64

	mu      sync.Mutex // guards the rest
	queue   []handed
	cells   int // in queue
	busy    ledger.Ranges
	owed    ledger.Ranges
	owes    uint64        // how many are in owed
	at      uint64        // from where on owed is worked off
	unsaved ledger.Ranges // taken, and not yet made durable by Save
	unsafe  bool          // Save failed last
	urgent  uint64        // up to it the stream needs room
	failing bool          // something is refused

	record []byte // the checkpoint as stored last; guarded by Processor.keeping
}

func newConsumer(p *Processor, c Consumer) *consumer {
	return &consumer{
		Consumer: c, p: p, schemas: schemaCache{store: p.cfg.Schemas}, again: rereader{stream: p.cfg.Stream, poll: p.cfg.Poll},
		holds: make(map[protocol.VehicleID]*hold), passed: make(map[protocol.VehicleID]struct{}), wake: make(chan struct{}, 1), pause: retryMin,
	}
}

// hand gives a message to the consumer, unless it did it before the start. It never waits.
func (c *consumer) hand(h handed) {
	sequence := h.message.Sequence
	if !c.origin.todo(sequence) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cells := h.cells()
	if c.owes == 0 && len(c.queue) < handedMessages && (len(c.queue) == 0 || c.cells+cells <= handedCells) {
		c.queue, c.cells = append(c.queue, h), c.cells+cells
	} else {
		c.owe(sequence)
	}
	c.signal()
}

// handAgain has the consumer read a message itself: the replay of its dead letter.
func (c *consumer) handAgain(sequence uint64) {
	if !c.origin.todo(sequence) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owe(sequence)
	c.signal()
}

// owe puts a message among those to be read again. The caller holds mu.
func (c *consumer) owe(sequence uint64) {
	if !c.owed.Has(sequence) {
		c.owed.Add(one(sequence))
		c.owes++
	}
	c.at = min(c.at, sequence) // what a vehicle sent before comes before, also in the middle of a pass
	if c.owes > maxOwed {
		c.urgent = max(c.urgent, c.owed.Min())
	}
}

// pay takes a message from those to be read again. The caller holds mu.
func (c *consumer) pay(sequence uint64) {
	if c.owed.Has(sequence) {
		c.owed.Remove(one(sequence))
		c.owes--
	}
}

func (c *consumer) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // run will look anyway
	}
}

// relieve makes what the consumer refuses up to a sequence dead letters. What it took and could not make durable is
// given up, as far as the stream is concerned, and counted: a crash would lose it for this consumer.
func (c *consumer) relieve(to uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	upTo := ledger.Span{From: 1, To: to}
	if n := c.unsaved.Within(upTo); c.unsafe && n > 0 {
		c.unsaved.Remove(upTo)
		c.gone.Add(n)
		c.p.cfg.Log.Warn("what a consumer took cannot be made durable, and the stream needs the room", "consumer", c.Name, "messages", n)
	}
	if c.failing && c.owes > 0 && c.owed.Min() <= to && to > c.urgent {
		c.urgent = to
		c.signal()
	}
}

// idle says whether the consumer has taken all that it was handed, or refuses it for now.
func (c *consumer) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failing || len(c.queue) == 0 && c.owes == 0 && c.busy.Empty()
}

// ConsumerStats counts since the start of the process, for one consumer of one stream.
type ConsumerStats struct {
	Name    string
	Owed    uint64 // messages that it will read from the stream itself
	Refused uint64 // offers that it refused
	Dead    uint64 // messages that became dead letters because it did not take them
	Gone    uint64 // messages that the stream deleted before it took them, or before what it made of them was durable
	Failing bool   // it refuses something
}

func (c *consumer) stats() ConsumerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ConsumerStats{
		Name: c.Name, Owed: c.owes, Refused: c.tries.Load(), Dead: c.dead.Load(), Gone: c.gone.Load(), Failing: c.failing,
	}
}
