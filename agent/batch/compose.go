package batch

import (
	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// maxPayload leaves room for topic and properties in the largest packet, in bytes.
const maxPayload = protocol.MaxPacket - 4<<10

// maxDeclared is how many evicted ranges one batch declares, some 16 KB of them; the others follow with the next.
const maxDeclared = batches.MaxEvicted

// commitment is one commit in the making. Nothing of the Sealer changes until it is on disk.
type commitment struct {
	closed, open    []*open // what is in
	sealed, lasting []buffer.Record
	owners          []*open // of sealed; a batch that was split has several
	next            uint64  // sequence of the next new batch
	dropped         uint64  // of the account, as declared
	progress        buffer.Progress
}

// compose encodes the batches to be closed and the checkpoints of those that last. A checkpoint that turns out more than
// a message may be is closed instead. What is closed is numbered first: its rows may be older, as when a rule has got another capture.
func (s *Sealer) compose(closing, lasting []*open) *commitment {
	c := &commitment{next: s.next, dropped: s.account.Dropped}
	s.payload = s.payload[:0]
	for _, o := range closing {
		s.seal(c, o)
	}
	for _, o := range lasting {
		h := s.header(o, c.number(o))
		start := len(s.payload)
		payload, ok := s.encode(o, h)
		switch {
		case !ok:
		case !fits(o.enc, o.capture.Schema, payload):
			s.payload = s.payload[:start]
			s.seal(c, o)
		default:
			c.take(h.ID.Seq)
			c.open = append(c.open, o)
			c.lasting = append(c.lasting, s.record(o, h, payload, o.enc.Samples(), o.enc.First(), o.enc.Last()))
		}
	}
	c.progress = s.progress(c)
	return c
}

// seal adds a batch to be closed. The first one also declares what was lost.
func (s *Sealer) seal(c *commitment, o *open) {
	h := s.header(o, c.number(o))
	if len(c.sealed) == 0 {
		s.declare(&h)
	}
	payload, ok := s.encode(o, h)
	if !ok {
		return
	}
	c.closed = append(c.closed, o)
	if o.far || !fits(o.enc, o.capture.Schema, payload) {
		s.split(c, o, h)
		return
	}
	c.seal(o, s.record(o, h, payload, o.enc.Samples(), o.enc.First(), o.enc.Last()))
}

// seal adds a record.
func (c *commitment) seal(o *open, r buffer.Record) {
	c.take(r.ID.Seq)
	c.sealed, c.owners = append(c.sealed, r), append(c.owners, o)
}

// number gives the sequence of a batch: that of its checkpoint, or the next.
func (c *commitment) number(o *open) uint64 {
	if o.seq != 0 {
		return o.seq
	}
	return c.next
}

// take uses a number up.
func (c *commitment) take(seq uint64) {
	if seq == c.next {
		c.next++
	}
}

func (s *Sealer) header(o *open, seq uint64) batches.Header {
	o.quality = o.quality.Worse(s.cfg.TimeQuality())
	return batches.Header{
		Schema:      o.capture.Hash.ID(),
		ID:          protocol.MessageID{Device: s.cfg.Device, Boot: s.cfg.Boot, Seq: seq},
		TimeQuality: o.quality,
	}
}

// declare lets a batch say what was lost since the last one that did.
func (s *Sealer) declare(h *batches.Header) {
	evicted := s.cfg.Store.PendingEvicted()
	h.Evicted = evicted[:min(len(evicted), maxDeclared)]
	h.Drops = s.account.Dropped - s.drops
}

// encode appends a payload to s.payload and gives it. Rows that cannot be
// encoded, which nothing that comes from a bus should bring about, are
// discarded and counted, rather than tried for ever.
func (s *Sealer) encode(o *open, h batches.Header) (payload []byte, ok bool) {
	start := len(s.payload)
	all, err := o.enc.Encode(h, s.payload)
	if err != nil {
		s.discard(o, err)
		return nil, false
	}
	s.payload = all
	return all[start:], true
}

// progress is the account as it will stand when c is on disk.
func (s *Sealer) progress(c *commitment) buffer.Progress {
	p := buffer.Progress{
		Boot: s.cfg.Boot, Received: s.committed.Received, Dropped: s.committed.Dropped,
		Decoded: s.committed.Decoded, Unknown: s.committed.Unknown, Seen: s.committed.Seen,
		Samples: s.sealed, Bytes: s.bytes, NextSeq: c.next,
	}
	for _, o := range s.open {
		p.Samples += uint64(o.committed)
	}
	for _, o := range c.open {
		p.Samples += uint64(o.enc.Samples() - o.committed)
	}
	for _, o := range c.closed {
		p.Samples -= uint64(o.committed)
	}
	for i := range c.sealed { // what was discarded at a split is not there
		p.Samples += uint64(c.sealed[i].Samples)
		p.Bytes += uint64(len(c.sealed[i].Payload))
	}
	return p
}
