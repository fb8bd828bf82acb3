package ingest

import (
	"context"
	"fmt"
	"time"

	"telltale.dev/protocol/topics"

	"telltale.dev/cloud/ingest/ledger"
)

// laterCells bounds the values of batches that wait in memory for the end of a commit, 4 MB of
// one stream. What comes beyond is read from the stream again.
const laterCells = 1 << 19

// decodeRest is the time between attempts to decode what was decoded before and cannot be any more.
const decodeRest = time.Second

// toLake brings the new batches of one stream into the lake. It is owned by Processor.Run, but
// for a commit, which has a goroutine of its own: a commit takes long, and for ever while
// the lake's disk is full, and meanwhile the stream is read on for everybody else. What comes
// then waits, in memory or in the stream only. The lake's rows need no order, so what
// comes after the commit need not wait for what waits.
type toLake struct {
	waiting ledger.Ranges // taken in, and not appended: what is in later, and what has to be read again
	later   []*Decoded    // in memory
	cells   int           // in later
	again   rereader
	from    uint64    // from where on waiting is read again
	rest    time.Time // until then waiting is not read again, because nothing of it could be had

	samples int       // appended since the last cut
	pending int       // messages done since the last cut, of any kind
	since   time.Time // when the first of them was begun
	buried  int       // dead letters since the last cut
	dates   dates     // of the rows since the last cut
	crowded bool      // the next batch has too many further dates

	number    uint64        // of the last cut
	cut       *cut          // of the commit that has not ended
	committed chan struct{} // tells that a commit ended well
}

// cut is what one commit makes durable. It is given again until the lake takes it.
type cut struct {
	number     uint64
	checkpoint []byte
	prefix     uint64 // all messages up to it are in the lake then
}

// store brings a new batch towards the lake.
func (p *Processor) store(d *Decoded) {
	l := &p.lake
	if l.cut == nil && l.samples < p.cfg.FlushRows && p.append(d) {
		return
	}
	l.waiting.Add(one(d.Sequence))
	if l.cells+d.cells <= laterCells {
		l.later, l.cells = append(l.later, d), l.cells+d.cells
	}
}

// append puts a batch into the lake's memory. False means that a commit has to come first.
func (p *Processor) append(d *Decoded) bool {
	fresh := 0
	if d.first <= d.last {
		if fresh = p.lake.dates.add(d.first, d.last); fresh < 0 {
			p.lake.crowded = true
			return false
		}
	}
	p.units += fresh * dateUnits
	if err := p.cfg.Lake.Append(d.Vehicle, d.Campaign, d.Purpose, d.Received, d.Schema, d.Batch); err != nil {
		// It fits, so this is a fault of the lake's. Without its rows nothing may be committed.
		p.broken = fmt.Errorf("ingest processor: lake: %w", err)
		return false
	}
	p.lake.samples += d.Samples
	return true
}

// behind says whether something waits for the lake that could be appended now.
func (p *Processor) behind() bool {
	l := &p.lake
	return l.cut == nil && !l.crowded && l.samples < p.cfg.FlushRows && !l.waiting.Empty() &&
		(len(l.later) > 0 || time.Now().After(l.rest))
}

// catchUp appends what waits, about a turn's work of it, so that it takes half of the time at most.
func (p *Processor) catchUp(ctx context.Context) {
	l := &p.lake
	for spent := 0; spent < turnUnits && p.behind() && p.broken == nil && ctx.Err() == nil; spent += p.units {
		p.units = messageUnits
		d := p.nextLater(ctx)
		if d == nil {
			return
		}
		if !p.append(d) {
			l.later, l.cells = append(l.later, d), l.cells+d.cells
			return
		}
		p.units += d.Samples
		p.storedLate(d.Sequence)
	}
}

// storedLate notes that a message no longer waits for the lake.
func (p *Processor) storedLate(sequence uint64) {
	p.lake.waiting.Remove(one(sequence))
	p.begin()
	p.lake.pending++
}

// nextLater gives a batch that waits, from memory or else from the stream; nil when there is none now.
func (p *Processor) nextLater(ctx context.Context) *Decoded {
	l := &p.lake
	if n := len(l.later); n > 0 {
		d := l.later[0]
		l.later[0] = nil
		if l.later = l.later[1:]; n == 1 {
			l.later = nil
		}
		l.cells -= d.cells
		return d
	}
	sequence := l.waiting.Next(l.from)
	if sequence == 0 { // what is left cannot be decoded any more
		l.from, l.rest = 1, time.Now().Add(decodeRest)
		return nil
	}
	m, gone, err := l.again.message(ctx, sequence, &l.waiting)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			p.reading.begin(p.cfg.Log, "stream cannot be read", err)
			l.rest = time.Now().Add(retryMin)
		}
		return nil
	case gone:
		p.notice(sequence+1, 1)
		p.storedLate(sequence)
		return nil
	case m == nil:
		return nil
	}
	d, f := p.decodeAgain(ctx, m)
	if f != nil && ctx.Err() == nil { // its schema is gone, or damaged, since it was decoded first: somebody has to restore it
		p.decoding.begin(p.cfg.Log, "a batch that was decoded before cannot be decoded again; it waits for the lake", f.err)
		l.from = sequence + 1
		return nil
	}
	p.decoding.end(p.cfg.Log)
	return d
}

// decodeAgain decodes a batch that was decoded and taken in before.
func (p *Processor) decodeAgain(ctx context.Context, m *Message) (*Decoded, *fault) {
	e, f := openEnvelope(m)
	if f != nil {
		return nil, f
	}
	h, f := openHeader(m.Data, &e)
	if f != nil {
		return nil, f
	}
	schema, f := p.schema(ctx, h.Schema)
	if f != nil {
		return nil, f
	}
	b, f := decode(m.Data, schema)
	if f != nil {
		return nil, f
	}
	return newDecoded(p.cfg.Name, m, &e, schema, b), nil
}

// due says whether it is time to commit.
func (p *Processor) due() bool {
	l := &p.lake
	if l.cut != nil || l.pending == 0 {
		return false
	}
	return (l.crowded || l.samples >= p.cfg.FlushRows || l.pending >= maxPending || l.buried >= maxBuried ||
		time.Since(l.since) >= p.cfg.FlushAge || p.flushable()) && p.grown()
}

// begin starts the age of what the next commit will hold.
func (p *Processor) begin() {
	if p.lake.pending == 0 {
		p.lake.since = time.Now()
	}
}

// commit makes a cut and has it committed beside. Dead letters are on disk before what they are about is committed.
func (p *Processor) commit(ctx context.Context) {
	if p.sendLetters(ctx); ctx.Err() != nil {
		return // dead letters may wait; the last commit decides
	}
	c := p.makeCut()
	p.commits.Go(func() {
		p.keep(ctx)
		err := p.retry(ctx, &p.writing, "lake cannot be written; what comes meanwhile stays in the stream for it", func() error {
			return p.cfg.Lake.Commit(c.number, c.prefix+1, c.checkpoint)
		})
		if err == nil {
			p.lake.committed <- struct{}{}
		}
	})
}

// grown says whether the next cut would get another number than the last. It does not while all that was done since
// waits for the lake: what the ledger knows of it is kept with a later cut.
func (p *Processor) grown() bool { return p.position.number(&p.lake.waiting) > p.lake.number }

// makeCut puts everything appended and what came to the ledger since the last cut into a cut, and begins the next one.
func (p *Processor) makeCut() *cut {
	l := &p.lake
	l.cut = &cut{
		number:     p.position.number(&l.waiting),
		checkpoint: p.position.checkpoint(&l.waiting, p.ledger.Cut()),
		prefix:     min(p.position.prefix(), below(&l.waiting, p.position.read)),
	}
	l.number = l.cut.number
	l.samples, l.pending, l.buried, l.crowded = 0, 0, 0, false
	clear(l.dates)
	return l.cut
}

// settle takes note of a commit that has ended.
func (p *Processor) settle() {
	select {
	case <-p.lake.committed:
		p.committed.Store(p.lake.cut.prefix)
		p.lake.cut = nil
	default:
	}
}

// last commits what is left when the context has ended, in the goroutine of Run.
func (p *Processor) last() error {
	p.commits.Wait()
	p.settle()
	if p.broken != nil {
		return p.broken
	}
	p.keep(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), lastLetters)
	defer cancel()
	for p.lake.cut != nil || p.lake.pending > 0 && p.grown() {
		if p.lake.cut == nil {
			if p.sendLetters(ctx); len(p.letters) > 0 {
				return fmt.Errorf("ingest processor: %d dead letters could not be written: nothing is committed, and all is read again at the next start", len(p.letters))
			}
			p.makeCut()
		}
		if err := p.cfg.Lake.Commit(p.lake.cut.number, p.lake.cut.prefix+1, p.lake.cut.checkpoint); err != nil {
			return fmt.Errorf("ingest processor: last commit: %w", err)
		}
		p.committed.Store(p.lake.cut.prefix)
		p.lake.cut = nil
	}
	return nil
}

// reset puts the lake's side where the last commit left it.
func (l *toLake) reset(cfg *ProcessorConfig, number uint64, waiting ledger.Ranges) {
	l.waiting, l.from, l.number = waiting, 1, number
	l.again = rereader{stream: cfg.Stream, poll: cfg.Poll}
	l.committed = make(chan struct{}, 1)
}

// topicOf is the topic of a message; its zero value when the header does not say.
func topicOf(m *Message) topics.Topic {
	t, err := topics.Parse(m.Header[HeaderTopic])
	if err != nil {
		return topics.Topic{}
	}
	return t
}
