package batch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/campaign"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// adopt makes room for the rules of a block. The batch of a rule that is gone
// stays in the list, without a rule of its number, until the next commit seals it.
func (s *Sealer) adopt(rules []*campaign.Rule) {
	if slices.Equal(s.rules, rules) {
		return
	}
	next := make([]*open, 0, len(rules))
	for _, r := range rules {
		if i := slices.IndexFunc(s.open, func(o *open) bool { return o.rule == r }); i >= 0 {
			next = append(next, s.open[i])
			continue
		}
		topic := protocol.Topic{Kind: protocol.KindTelemetry, Vehicle: s.cfg.Vehicle, Campaign: r.Campaign}
		next = append(next, &open{rule: r, enc: codec.NewEncoder(r.Schema, r.Hash.ID()), topic: topic.String()})
	}
	for _, o := range s.open {
		if !slices.Contains(next, o) && o.enc.Rows() > 0 {
			next = append(next, o)
		}
	}
	s.rules, s.open = slices.Clone(rules), next
}

// retired says whether the batch at index i belongs to a rule that is no longer in force.
func (s *Sealer) retired(i int) bool { return i >= len(s.rules) }

// commit seals the batches that seal picks and those of retired rules, and
// checkpoints the others that are due.
func (s *Sealer) commit(ctx context.Context, seal func(*open) bool) error {
	var closing, lasting []*open
	uncovered := false
	for i, o := range s.open {
		switch {
		case o.enc.Rows() == 0:
		case s.retired(i) || seal(o):
			closing = append(closing, o)
		case s.now >= o.due:
			lasting = append(lasting, o)
		default:
			uncovered = uncovered || o.enc.Samples() > o.committed
		}
	}
	if len(closing)+len(lasting) == 0 {
		return nil
	}
	if !uncovered {
		s.cut.CopyFrom(&s.account)
	}
	if err := s.persist(ctx, func() error { return s.appendAll(closing) }); err != nil {
		return err
	}
	for _, o := range lasting {
		if err := s.persist(ctx, func() error { return s.checkpoint(o) }); err != nil {
			return err
		}
	}
	s.open = slices.DeleteFunc(s.open, func(o *open) bool {
		return !slices.Contains(s.rules, o.rule)
	})
	return nil
}

// appendAll writes sealed batches in one transaction.
func (s *Sealer) appendAll(closing []*open) error {
	if len(closing) == 0 {
		return nil
	}
	next := s.next
	recs := make([]buffer.Record, 0, len(closing))
	s.payload = s.payload[:0]
	samples := uint64(0)
	for i, o := range closing {
		seq := o.seq
		if seq == 0 {
			seq, next = next, next+1
		}
		h := s.header(o, seq)
		if i == 0 {
			h.Evicted = s.cfg.Store.PendingEvicted()
			h.Drops = s.account.Dropped - s.drops
		}
		rec, err := s.record(o, h)
		if err != nil {
			return err
		}
		recs = append(recs, rec)
		samples += uint64(o.enc.Samples())
	}
	p := s.progress(next, samples)
	for _, o := range closing {
		p.Samples -= uint64(o.committed) // counted by their checkpoints so far
	}
	if err := s.cfg.Store.Append(recs, p); err != nil {
		return err
	}
	s.next, s.sealed, s.drops = next, s.sealed+samples, s.account.Dropped
	for i, o := range closing {
		o.enc.Reset()
		o.seq, o.committed = 0, 0
		s.stats.bytes.Add(uint64(len(recs[i].Payload)))
	}
	s.stats.batches.Add(uint64(len(recs)))
	s.stats.samples.Store(p.Samples)
	return nil
}

// checkpoint writes the batch so far, in place of its last checkpoint.
func (s *Sealer) checkpoint(o *open) error {
	seq, next := o.seq, s.next
	if seq == 0 {
		seq, next = next, next+1
	}
	s.payload = s.payload[:0]
	rec, err := s.record(o, s.header(o, seq))
	if err != nil {
		return err
	}
	p := s.progress(next, uint64(o.enc.Samples()-o.committed))
	if err := s.cfg.Store.Checkpoint(rec, p); err != nil {
		return err
	}
	s.next, o.seq, o.committed = next, seq, o.enc.Samples()
	o.due = s.now + s.interval(o.rule).Microseconds()
	s.stats.samples.Store(p.Samples)
	return nil
}

func (s *Sealer) header(o *open, seq uint64) codec.Header {
	return codec.Header{
		Schema: o.rule.Hash.ID(),
		ID:     protocol.MessageID{Device: s.cfg.Device, Boot: s.cfg.Boot, Seq: seq},
	}
}

// record encodes the batch behind s.payload.
func (s *Sealer) record(o *open, h codec.Header) (buffer.Record, error) {
	start := len(s.payload)
	payload, err := o.enc.Encode(h, s.payload)
	if err != nil {
		return buffer.Record{}, fmt.Errorf("batch: %w", err)
	}
	s.payload = payload
	return buffer.Record{
		Topic: o.topic, ContentType: protocol.ContentTelemetry, Priority: o.rule.Class, ID: h.ID,
		Schema: o.rule.Hash, Purpose: o.rule.Purpose, Samples: uint32(o.enc.Samples()),
		First: o.enc.First(), Last: o.enc.Last(), Created: time.Now(), TTL: ttl(o.rule.Class),
		Evicted: h.Evicted, Payload: payload[start:],
	}, nil
}

// progress is the account as of a commit that adds samples to what is on disk.
func (s *Sealer) progress(next, samples uint64) buffer.Progress {
	total := s.sealed + samples
	for _, o := range s.open {
		total += uint64(o.committed)
	}
	return buffer.Progress{
		Boot: s.cfg.Boot, Received: s.cut.Received, Dropped: s.cut.Dropped,
		Decoded: s.cut.Decoded, Unknown: s.cut.Unknown, Seen: s.cut.Seen, Samples: total, NextSeq: next,
	}
}

// ttl is the message expiry of a class.
func ttl(p protocol.Priority) time.Duration {
	const day = 24 * time.Hour
	switch {
	case p >= protocol.CS5:
		return 7 * day
	case p.Hot():
		return day
	}
	return 30 * day
}

// Waits between tries of a refused write.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 5 * time.Second
)

// persist tries write again until it succeeds. When ctx has ended it tries once.
func (s *Sealer) persist(ctx context.Context, write func() error) error {
	wait := minRetry
	for {
		err := write()
		if err == nil {
			if wait > minRetry {
				s.cfg.Log.Info("buffer accepts writes again")
			}
			return nil
		}
		s.stats.failures.Add(1)
		if wait == minRetry {
			s.cfg.Log.Error("buffer refuses the batch; collecting stands still until it accepts", "error", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("commit at shutdown: %w", err)
		case <-time.After(wait):
			wait = min(2*wait, maxRetry)
		}
	}
}
