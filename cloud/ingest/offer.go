package ingest

import (
	"context"
	"errors"
	"time"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
)

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
	clear(c.passed)
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
	wanted := ledger.Ranges{}
	if !c.again.covers(sequence) {
		c.mu.Lock()
		for next := sequence; next != 0 && next < sequence+readMessages; next = c.owed.Next(next + 1) { // no copy of all
			wanted.Add(one(next))
		}
		c.mu.Unlock()
	}
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
	hold := c.holds[vid]
	if _, passed := c.passed[vid]; passed || hold != nil && time.Now().Before(hold.next) && !c.pressed(sequence) {
		c.passed[vid] = struct{}{}
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

// open decodes a message that was read again from the stream, as the processor did at its time. Mine is false when the
// message is not for this consumer, or when the processor made it a dead letter, which counts for all consumers.
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
	if f == nil {
		h.batch, f, err = c.decodeAgain(ctx, m, &e, header.Schema)
	}
	if f != nil && !h.replay && c.p.ledger.Check(e.topic.Vehicle, header.ID) == ledger.Unseen {
		return h, false, nil, nil // the processor refused it, too; a seen one was good then, and its schema is gone or a bound has changed
	}
	return h, true, f, err
}

// decodeAgain decodes a batch, unless there is now something against it that the processor would make a dead letter for.
func (c *consumer) decodeAgain(ctx context.Context, m *Message, e *envelope, id protocol.SchemaID) (*Decoded, *fault, error) {
	schema, _, f, err := c.schemas.find(ctx, id)
	if f != nil || err != nil {
		return nil, f, err
	}
	claim, err := measure(m.Data)
	if f := vetClaim(m, e, schema, claim, err); f != nil {
		return nil, f, nil
	}
	b, f := decode(m.Data, schema)
	if f != nil {
		return nil, f, nil
	}
	d := newDecoded(c.p.cfg.Name, m, e, schema, b)
	return d, c.p.fits(m, e, d), nil
}

// offer gives a message to the consumer. What it refuses is owed, and so is all that waits in memory behind it.
func (c *consumer) offer(ctx context.Context, h handed) {
	var err error
	if h.batch != nil {
		err = c.Batch(ctx, h.batch)
	} else {
		err = c.Word(ctx, h.other)
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
		clear(c.passed)
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

// setAside writes a dead letter for a message. While that cannot be done it stays owed, but for one thing: when both
// the dead-letter stream and the message's own are full, the letter is given up and counted. The consumer alone pays
// then, with that message; else no vehicle could send any more.
func (c *consumer) setAside(ctx context.Context, h *handed, f *fault) {
	if !h.replay { // the letter of a replay is still there
		letter := c.p.letterOf(h.message, c.Name, f)
		err := c.p.writeLetter(letter)
		switch lost := errors.Is(err, ErrFull) && c.pressed(h.message.Sequence); {
		case lost:
			if c.p.stats.deadLost.Add(1) == 1 {
				c.p.cfg.Log.Warn("a consumer's dead letter given up, more are only counted", "consumer", c.Name, "err", err)
			}
		case err != nil:
			c.refused(ctx, h.topic.Vehicle, h.message.Sequence, err)
			return
		case c.dead.Add(1) == 1:
			c.p.cfg.Log.Warn("a consumer's first dead letter, more are only counted", "consumer", c.Name, "reason", f.reason, "err", f.err)
		}
	}
	c.drop(h.message.Sequence)
}
