package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"telltale.dev/cloud/ingest/ledger"
)

// Checkpoints keeps the consumers' checkpoints by key; Put returns when the value is on disk.
type Checkpoints interface {
	Put(ctx context.Context, key string, value []byte) error
	List(ctx context.Context) (map[string][]byte, error)
}

// start is what a consumer had done when the process started: everything up to read but what is open.
type start struct {
	read uint64
	open ledger.Ranges
}

func (s *start) todo(sequence uint64) bool { return sequence > s.read || s.open.Has(sequence) }

// recordVersion begins a consumer's checkpoint: version, read, the set of those open.
const recordVersion = 1

func (s *start) append(out []byte) []byte {
	out = binary.AppendUvarint(append(out, recordVersion), s.read)
	return s.open.AppendTo(out)
}

func (s *start) parse(record []byte) (err error) {
	if len(record) < 1 || record[0] != recordVersion {
		return fmt.Errorf("expected version 1: %w", errRecord)
	}
	read, n := binary.Uvarint(record[1:])
	if n <= 0 {
		return fmt.Errorf("cut short: %w", errRecord)
	}
	open, rest, err := ledger.ReadRanges(record[1+n:])
	if err != nil || len(rest) > 0 || open.Max() > read {
		return fmt.Errorf("expected a set of what is read, and nothing behind it: %w", errors.Join(err, errRecord))
	}
	s.read, s.open = read, open
	return nil
}

var errRecord = errors.New("invalid checkpoint of a consumer")

// keepWait bounds the keeping of one consumer's checkpoint, which is tried again. Each has its own time, so that one
// whose Save hangs does not keep the others' from being stored.
const keepWait = time.Minute

// restoreConsumers reads where each consumer stood. One without a checkpoint stands where the lake stands: that was so
// in versions without them. Whether a checkpoint is that of another stream is seen when the stream can be asked.
func (p *Processor) restoreConsumers() error {
	if len(p.consumers) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	records, err := p.cfg.Checkpoints.List(ctx)
	if err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	for _, c := range p.consumers {
		record, ok := records[c.key()]
		if !ok {
			c.durable.Store(p.position.prefix())
			continue
		}
		var was start
		if err := was.parse(record); err != nil {
			return fmt.Errorf("checkpoint of %s: %w", c.Name, err)
		}
		c.resume(was, record)
	}
	return nil
}

// checkConsumers has those begin where the lake stands whose checkpoint is beyond the stream's end: it is that of
// another stream, and would swallow new messages silently until this one is as long.
func (p *Processor) checkConsumers(last uint64) {
	for _, c := range p.consumers {
		if c.origin.read <= last {
			continue
		}
		p.cfg.Log.Warn("a consumer's checkpoint is beyond the stream's end; it begins where the lake stands",
			"consumer", c.Name, "checkpoint", c.origin.read, "end", last)
		c.mu.Lock()
		c.origin, c.owed, c.owes = start{}, ledger.Ranges{}, 0
		c.mu.Unlock()
		c.durable.Store(p.position.prefix())
	}
}

func (c *consumer) key() string { return c.p.cfg.Name + "/" + c.Name }

// resume takes up a checkpoint. What the processor will not come by again the consumer reads itself.
func (c *consumer) resume(was start, record []byte) {
	c.origin, c.record = was, record
	c.durable.Store(below(&was.open, was.read))
	read, open := c.p.position.read, c.p.position.open
	c.owed = was.open.Clone()
	if read > was.read { // its checkpoint is older than the lake's: at least once
		c.owed.Add(ledger.Span{From: was.read + 1, To: read})
	}
	c.owed.Remove(ledger.Span{From: read + 1, To: ^uint64(0)})
	c.owed.RemoveAll(open)
	c.owes = c.owed.Count()
}

// keep has the consumers make durable what they took, and stores where they stand. One that
// cannot has an older checkpoint: it is told again after a crash, and the stream keeps more.
func (p *Processor) keep(ctx context.Context) {
	if len(p.consumers) == 0 {
		return
	}
	p.keeping.Lock()
	defer p.keeping.Unlock()
	for _, c := range p.consumers {
		err := c.keep(ctx)
		switch {
		case err == nil:
			p.saving.end(p.cfg.Log)
		case ctx.Err() == nil:
			p.saving.begin(p.cfg.Log, "a consumer's checkpoint cannot be stored; the stream keeps what it took", err)
		}
	}
}

func (c *consumer) keep(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, keepWait)
	defer cancel()
	c.mu.Lock()
	saved := c.unsaved.Clone()
	c.mu.Unlock()
	if c.Save != nil && !saved.Empty() {
		err = c.Save(ctx)
		c.mu.Lock()
		if c.unsafe = err != nil; err == nil {
			c.unsaved.RemoveAll(saved)
		}
		c.mu.Unlock()
	}
	now := c.stands()
	record := now.append(nil)
	if !slices.Equal(record, c.record) {
		if e := c.p.cfg.Checkpoints.Put(ctx, c.key(), record); e != nil {
			return e
		}
		c.record = record
	}
	c.durable.Store(below(&now.open, now.read))
	return err
}

// stands gives what the consumer has done, in the form of a start.
func (c *consumer) stands() (now start) {
	c.p.positionMu.Lock()
	now.read, now.open = c.p.position.read, c.p.position.open.Clone() // before the consumer's own: what is done in between counts as open
	c.p.positionMu.Unlock()
	if was := c.origin; was.read > 0 {
		before := intersect(now.open, was.open)
		now.open.Remove(ledger.Span{From: 1, To: was.read})
		now.open.AddAll(before)
		if now.read < was.read {
			rest := was.open.Clone()
			rest.Remove(ledger.Span{From: 1, To: now.read})
			now.open.AddAll(rest)
			now.read = was.read
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range [...]ledger.Ranges{c.owed, c.busy, c.unsaved} {
		now.open.AddAll(r)
	}
	for i := range c.queue {
		sequence := c.queue[i].message.Sequence
		now.open.Add(one(sequence))
	}
	now.open.Remove(ledger.Span{From: now.read + 1, To: ^uint64(0)}) // what was read meanwhile is to be done anyway
	return now
}

// keepEvery stores the checkpoints now and then until ctx ends, whatever becomes of the lake.
func (p *Processor) keepEvery(ctx context.Context) {
	for sleep(ctx, p.cfg.FlushAge) {
		p.keep(ctx)
	}
}

// Needed is the sequence up to which the stream may forget everything: the lake has it, and each
// consumer has it, on disk.
func (p *Processor) Needed() uint64 {
	needed := p.committed.Load()
	for _, c := range p.consumers {
		needed = min(needed, c.durable.Load())
	}
	return needed
}

// Relieve is called when the stream needs the room of messages that the lake has and a consumer
// refuses: they become dead letters.
func (p *Processor) Relieve() {
	to := p.committed.Load()
	for _, c := range p.consumers {
		c.relieve(to)
	}
}
