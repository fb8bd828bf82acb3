package ingest

import (
	"context"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// advance is the most that a message can claim, which a vehicle owes for each message
// beyond what may wait of it, until that message's turn comes and says what it is.
func advance(size int) int32 { return int32(min(size*batches.MaxSamplesPerByte, batches.MaxCells)) }

// longWork is how long a turn's work lasts at least before it is worth to look whether the stream has more than one read gave.
const longWork = 10 * time.Millisecond

// step reads, and does a turn's work; read is how many messages came, done how many were done.
// A read gives what is at hand, which is little beside what comes during a long turn of one vehicle. So after
// such a turn it reads on until nothing comes, but no longer than that turn took: else messages of others would
// wait in the stream, where no turn reaches them. All vehicles together pay with at most half of the time.
func (p *Processor) step(ctx context.Context) (read, done int) {
	for began := time.Now(); !p.queue.full(); {
		n := p.read(ctx)
		read += n
		if n == 0 || p.worked < longWork || time.Since(began) >= p.worked {
			break
		}
	}
	began := time.Now()
	done = p.work(ctx)
	p.worked = time.Since(began)
	p.sendLetters(ctx)
	return read, done
}

// busyWait is how long a read waits while there is work: a stream that has messages must win
// against its own timer, or each miss would delay them by another piece of work.
const busyWait = 300 * time.Microsecond

// settleWait is how long a read waits while a commit is under way or a request is to be answered.
const settleWait = 5 * time.Millisecond

// read puts what the stream has now into the queue. It waits for it only when there is nothing else to do.
func (p *Processor) read(ctx context.Context) int {
	wait := p.cfg.Poll
	switch {
	case p.queue.messages > 0 || p.behind(): // give what is at hand the time to be handed over
		wait = busyWait
	case p.lake.cut != nil || len(p.flushing) > 0: // something else will be to do soon
		wait = min(wait, settleWait)
	case p.lake.pending > 0:
		wait = max(0, min(wait, p.cfg.FlushAge-time.Since(p.lake.since)))
	}
	var messages []Message
	err := p.retry(ctx, &p.reading, "stream cannot be read", func() (err error) {
		messages, err = p.cfg.Stream.Read(ctx, p.position.next, readMessages, wait)
		return err
	})
	if err != nil {
		return 0
	}
	p.countIdle(ctx, len(messages) > 0)
	for i := range messages {
		m := &messages[i]
		p.positionMu.Lock()
		todo, gone := p.position.take(m.Sequence)
		p.positionMu.Unlock()
		p.notice(m.Sequence, gone)
		if !todo {
			continue
		}
		vid := vehicleOf(m)
		if kept, e := p.queue.add(vid, m); !kept {
			e.urgent, e.advance = urgent(m), advance(len(m.Data))
			p.debit(vid, e.urgent, int(e.advance))
		}
	}
	p.stats.held.Store(uint64(p.queue.bytes))
	return len(messages)
}

// countIdle counts, for who waits for the stream's end, the reads in a row that gave nothing.
func (p *Processor) countIdle(ctx context.Context, some bool) {
	for _, f := range p.flushing {
		f.idle++
		if some || f.idle == idleReads && ended(ctx, p.cfg.Stream, p.position.next, f.until) != nil {
			f.idle = 0
		}
	}
}

// vehicleOf is whose message it is, "" when its header does not say.
func vehicleOf(m *Message) protocol.VehicleID { return topicOf(m).Vehicle }

// urgent says which share of the vehicle's quota a message belongs to.
func urgent(m *Message) bool {
	class, err := protocol.ParsePriority(m.Header[HeaderProperty+protocol.PropPriority])
	return err == nil && class.Urgent()
}

// debit takes samples from the vehicle's quota; a negative number gives them back.
func (p *Processor) debit(vid protocol.VehicleID, urgent bool, samples int) {
	if p.cfg.Debit != nil && vid != "" && samples != 0 {
		p.cfg.Debit(vid, urgent, samples)
	}
}

// notice counts messages that the stream deleted before they were read. That is
// data lost for the lake, by limits of the stream that are too small.
func (p *Processor) notice(sequence, gone uint64) {
	if gone > 0 && p.stats.skipped.Add(gone) == gone {
		p.cfg.Log.Warn("the stream deleted messages before they were read, more are only counted", "before", sequence, "messages", gone)
	}
}

// work does what is next in the queue, about a turn's work of a vehicle, so that what
// others send meanwhile is read soon.
func (p *Processor) work(ctx context.Context) (done int) {
	for spent := 0; spent < turnUnits && p.queue.messages > 0 && ctx.Err() == nil; {
		v := p.queue.turn()
		e := v.first()
		if e.message == nil {
			p.recall(ctx, v)
			spent += recallUnits
			continue
		}
		p.begin()
		p.units = messageUnits
		if !p.process(ctx, e.message) {
			return done // ctx ended; it will be read again at the next start
		}
		p.finish(v)
		done++
		spent += p.units
		p.queue.charge(v, p.units)
		if p.broken != nil {
			return done
		}
		if p.due() {
			p.commit(ctx)
		}
	}
	return done
}

// finish takes the head of v from the queue: it is done, or gone.
func (p *Processor) finish(v *vehicleQueue) {
	e := p.queue.pop(v)
	p.positionMu.Lock()
	p.position.done(e.sequence)
	p.positionMu.Unlock()
	p.lake.pending++
	p.debit(v.vehicle, e.urgent, -int(e.advance))
}

// recall reads the first messages of v again. They were not kept because the vehicle had enough waiting.
func (p *Processor) recall(ctx context.Context, v *vehicleQueue) {
	p.queue.charge(v, recallUnits)
	var messages []Message
	err := p.retry(ctx, &p.reading, "stream cannot be read", func() (err error) {
		messages, err = p.cfg.Stream.Read(ctx, v.first().sequence, readMessages, p.cfg.Poll)
		return err
	})
	if err != nil {
		return
	}
	if len(messages) == 0 {
		if v.missed++; v.missed < idleReads {
			return
		}
		v.missed = 0
		if gone, err := deleted(ctx, p.cfg.Stream, v.first().sequence); !gone {
			if ctx.Err() == nil {
				p.reading.begin(p.cfg.Log, "stream cannot be read", err)
			}
			return
		}
	}
	p.queue.restore(v, messages)
	for v.len() > 0 && v.first().message == nil && (len(messages) == 0 || v.first().sequence < messages[0].Sequence) {
		p.notice(v.first().sequence+1, 1)
		p.finish(v)
		if len(messages) == 0 {
			break
		}
	}
}
