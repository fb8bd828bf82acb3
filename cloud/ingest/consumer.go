package ingest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
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
	Other func(ctx context.Context, m *Other) error
	// Save makes durable what Batch and Other made of the messages. It may be called beside them.
	// Nil: it is durable when they return.
	Save func(ctx context.Context) error
}

func (c *Consumer) wants(t topics.Topic) bool {
	if t.Kind == topics.Telemetry && c.Batch == nil || t.Kind != topics.Telemetry && c.Other == nil {
		return false
	}
	return c.Wants == nil || c.Wants(t)
}

// Bounds of what is in memory for one consumer of one stream. What comes beyond it reads
// from the stream itself; nobody else pays.
const (
	handedMessages = 256
	handedCells    = 1 << 19 // values of batches; a kilobyte of another message counts as 128
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
	other   *Other
}

// cells is what it takes of handedCells.
func (h *handed) cells() int {
	if h.batch != nil {
		return h.batch.cells
	}
	return len(h.message.Data) / 8
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
	holds   map[protocol.VehicleID]*hold // owned by run
	pause   time.Duration                // owned by run: after a refusal, before anything else is offered
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
	urgent  uint64        // up to it the stream needs room
	failing bool          // something is refused

	record []byte // the checkpoint as stored last; guarded by Processor.keeping
}

func newConsumer(p *Processor, c Consumer) *consumer {
	return &consumer{
		Consumer: c, p: p, schemas: schemaCache{store: p.cfg.Schemas}, again: rereader{stream: p.cfg.Stream, poll: p.cfg.Poll},
		holds: make(map[protocol.VehicleID]*hold), wake: make(chan struct{}, 1), pause: retryMin,
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

// run offers messages until ctx ends.
func (c *consumer) run(ctx context.Context) {
	for ctx.Err() == nil {
		if h, ok := c.take(); ok {
			c.offer(ctx, h)
			continue
		}
		pause := c.pass(ctx)
		timer := time.NewTimer(pause)
		select {
		case <-c.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// take gives the next message in memory.
func (c *consumer) take() (h handed, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return h, false
	}
	h = c.queue[0]
	c.queue[0] = handed{}
	if c.queue = c.queue[1:]; len(c.queue) == 0 {
		c.queue = nil
	}
	c.cells -= h.cells()
	c.busy.Add(one(h.message.Sequence))
	return h, true
}

// pass offers what is owed, the oldest first, but for vehicles that have to wait. It gives
// the time until the next one may be offered again.
func (c *consumer) pass(ctx context.Context) time.Duration {
	c.mu.Lock()
	c.at = 1
	c.mu.Unlock()
	for ctx.Err() == nil {
		sequence := c.nextOwed()
		if sequence == 0 {
			break
		}
		c.offerOwed(ctx, sequence)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owes == 0 {
		clear(c.holds)
		c.failing = false
	}
	wait := holdMax
	for _, h := range c.holds {
		wait = min(wait, max(retryMin, time.Until(h.next)))
	}
	return wait
}

// nextOwed gives the next message of a pass, 0 at its end.
func (c *consumer) nextOwed() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	sequence := c.owed.Next(c.at)
	if sequence > 0 {
		c.at = sequence + 1
	}
	return sequence
}

// offerOwed reads a message again and offers it, unless its vehicle has to wait.
func (c *consumer) offerOwed(ctx context.Context, sequence uint64) {
	c.mu.Lock()
	wanted := ledger.Ranges{} // those near it: a copy of all would cost too much for each
	for next := sequence; next != 0 && next < sequence+readMessages; next = c.owed.Next(next + 1) {
		wanted.Add(one(next))
	}
	c.mu.Unlock()
	m, gone, err := c.again.message(ctx, sequence, &wanted)
	switch {
	case gone:
		c.gone.Add(1)
		c.drop(sequence)
		return
	case m == nil:
		if ctx.Err() == nil {
			c.refused(ctx, "", sequence, err)
		}
		return
	}
	vid := vehicleOf(m)
	if h := c.holds[vid]; h != nil && time.Now().Before(h.next) && !c.pressed(sequence) {
		return
	}
	h, mine, f, err := c.open(ctx, m)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.refused(ctx, vid, sequence, err)
	case f != nil:
		c.setAside(ctx, &handed{message: m, topic: topicOf(m), replay: m.Header[HeaderConsumer] != ""}, f)
	case !mine:
		c.drop(sequence)
	default:
		c.mu.Lock()
		c.pay(sequence)
		c.busy.Add(one(sequence))
		c.mu.Unlock()
		c.offer(ctx, h)
	}
}

// open makes of a message that was read again what the processor makes of it in turn.
// Mine is false when it is not for this consumer.
func (c *consumer) open(ctx context.Context, m *Message) (h handed, mine bool, f *fault, err error) {
	e, f := openEnvelope(m)
	if f != nil || e.consumer != "" && e.consumer != c.Name || !c.wants(e.topic) {
		return h, false, nil, nil
	}
	h = handed{message: m, topic: e.topic, replay: e.consumer != ""}
	if e.topic.Kind != topics.Telemetry {
		h.other = newOther(c.p.cfg.Name, m, &e)
		return h, true, nil, nil
	}
	header, f := openHeader(m.Data, &e)
	if f != nil {
		return h, true, f, nil
	}
	schema, _, f, err := c.schemas.find(ctx, header.Schema)
	if f != nil || err != nil {
		return h, true, f, err
	}
	b, f := decode(m.Data, schema)
	if f != nil {
		return h, true, f, nil
	}
	h.batch = newDecoded(c.p.cfg.Name, m, &e, schema, b)
	return h, true, nil, nil
}

// offer gives a message to the consumer. What it refuses is owed, and so is all that waits in memory behind it.
func (c *consumer) offer(ctx context.Context, h handed) {
	var err error
	if h.batch != nil {
		err = c.Batch(ctx, h.batch)
	} else {
		err = c.Other(ctx, h.other)
	}
	sequence := h.message.Sequence
	switch {
	case err == nil:
		c.taken(h.topic.Vehicle, sequence)
	case errors.Is(err, ErrUnreadable):
		c.setAside(ctx, &h, &fault{reasons.Undecodable, err})
	case c.overdue(&h):
		c.setAside(ctx, &h, faultOf(reasons.Consumer, "%s: %w", c.Name, err))
	default:
		c.refused(ctx, h.topic.Vehicle, sequence, err)
	}
}

// taken notes that the consumer took a message.
func (c *consumer) taken(vid protocol.VehicleID, sequence uint64) {
	_, held := c.holds[vid]
	c.pause = retryMin
	c.mu.Lock()
	defer c.mu.Unlock()
	if held { // it goes on: so it may for all others
		clear(c.holds)
		c.failing, c.at = false, 1
	}
	c.busy.Remove(one(sequence))
	if c.Save != nil {
		c.unsaved.Add(one(sequence))
	}
}

// refused keeps a message for a later offer, and waits.
func (c *consumer) refused(ctx context.Context, vid protocol.VehicleID, sequence uint64, err error) {
	if ctx.Err() == nil {
		c.tries.Add(1)
	}
	h := c.holds[vid]
	if h == nil {
		h = &hold{pause: holdMin}
		c.holds[vid] = h
	}
	h.tries++
	h.next, h.pause = time.Now().Add(h.pause), min(2*h.pause, holdMax)
	c.mu.Lock()
	said := c.failing
	c.failing = true
	c.busy.Remove(one(sequence))
	c.owe(sequence)
	for i := range c.queue {
		c.owe(c.queue[i].message.Sequence)
	}
	c.queue, c.cells = nil, 0
	c.mu.Unlock()
	if !said && err != nil && ctx.Err() == nil {
		c.p.cfg.Log.Warn("a consumer refuses a message; it is offered again", "consumer", c.Name, "err", err)
	}
	sleep(ctx, c.pause)
	c.pause = min(2*c.pause, retryMax)
}

// drop takes a message from those owed.
func (c *consumer) drop(sequence uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pay(sequence)
	c.busy.Remove(one(sequence))
}

// overdue says whether a message that was refused is not offered again.
func (c *consumer) overdue(h *handed) bool {
	if c.pressed(h.message.Sequence) {
		return true
	}
	held := c.holds[h.topic.Vehicle]
	since := h.message.Stored
	if since.Before(c.p.started) {
		since = c.p.started
	}
	return held != nil && held.tries >= minTries-1 && time.Since(since) >= c.p.cfg.Patience
}

// pressed says whether the stream needs the room from a message on that this consumer refuses.
func (c *consumer) pressed(sequence uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sequence <= c.urgent
}

// relieve makes what the consumer refuses up to a sequence dead letters.
func (c *consumer) relieve(to uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing && c.owes > 0 && c.owed.Min() <= to && to > c.urgent {
		c.urgent = to
		c.signal()
	}
}

// setAside writes a dead letter for a message. While that cannot be done it stays owed.
func (c *consumer) setAside(ctx context.Context, h *handed, f *fault) {
	if !h.replay { // the letter of a replay is still there
		letter := c.p.letterOf(h.message, c.Name, f)
		if err := c.p.writeLetter(letter); err != nil {
			c.refused(ctx, h.topic.Vehicle, h.message.Sequence, err)
			return
		}
		if c.dead.Add(1) == 1 {
			c.p.cfg.Log.Warn("a consumer's first dead letter, more are only counted", "consumer", c.Name, "reason", f.reason, "err", f.err)
		}
	}
	c.drop(h.message.Sequence)
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
	Gone    uint64 // messages that the stream deleted before it took them
	Failing bool   // it refuses something
}

func (c *consumer) stats() ConsumerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ConsumerStats{
		Name: c.Name, Owed: c.owes, Refused: c.tries.Load(), Dead: c.dead.Load(), Gone: c.gone.Load(), Failing: c.failing,
	}
}
