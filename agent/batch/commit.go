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
	if err := s.persist(ctx, func() error { return s.write(closing, lasting) }); err != nil {
		return err
	}
	s.open = slices.DeleteFunc(s.open, func(o *open) bool {
		return !slices.Contains(s.rules, o.rule)
	})
	return nil
}

// write puts sealed batches and checkpoints on disk in one transaction. Only
// when that succeeded do the Sealer's own numbers move on.
func (s *Sealer) write(closing, lasting []*open) error {
	s.payload = s.payload[:0]
	numbers := s.number(append(slices.Clone(closing), lasting...))
	sealed, err := s.records(closing, numbers, true)
	if err != nil {
		return err
	}
	current, err := s.records(lasting, numbers[len(closing):], false)
	if err != nil {
		return err
	}
	p := s.progress(closing, lasting, sealed)
	if err := s.cfg.Store.Commit(sealed, current, p); err != nil {
		return err
	}
	s.next, s.bytes, s.drops = p.NextSeq, p.Bytes, s.account.Dropped
	for _, o := range closing {
		s.sealed += uint64(o.enc.Samples())
		o.enc.Reset()
		o.seq, o.committed = 0, 0
	}
	for i, o := range lasting {
		o.seq, o.committed = numbers[len(closing)+i], o.enc.Samples()
		o.due = s.now + s.interval(o.rule).Microseconds()
	}
	s.stats.batches.Add(uint64(len(sealed)))
	s.stats.samples.Store(p.Samples)
	return nil
}

// number gives each batch its sequence: the one of its checkpoint, or the next.
func (s *Sealer) number(batches []*open) []uint64 {
	numbers, next := make([]uint64, len(batches)), s.next
	for i, o := range batches {
		if numbers[i] = o.seq; o.seq == 0 {
			numbers[i], next = next, next+1
		}
	}
	return numbers
}

// records encodes batches. The first sealed one also declares what was lost since the last.
func (s *Sealer) records(batches []*open, numbers []uint64, sealed bool) ([]buffer.Record, error) {
	recs := make([]buffer.Record, 0, len(batches))
	for i, o := range batches {
		h := codec.Header{
			Schema: o.rule.Hash.ID(),
			ID:     protocol.MessageID{Device: s.cfg.Device, Boot: s.cfg.Boot, Seq: numbers[i]},
		}
		if sealed && i == 0 {
			h.Evicted = s.cfg.Store.PendingEvicted()
			h.Evicted = h.Evicted[:min(len(h.Evicted), codec.MaxEvicted)]
			h.Drops = s.account.Dropped - s.drops
		}
		rec, err := s.record(o, h)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, nil
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

// progress is the account as it will stand when closing and lasting are on disk.
func (s *Sealer) progress(closing, lasting []*open, sealed []buffer.Record) buffer.Progress {
	p := buffer.Progress{
		Boot: s.cfg.Boot, Received: s.cut.Received, Dropped: s.cut.Dropped,
		Decoded: s.cut.Decoded, Unknown: s.cut.Unknown, Seen: s.cut.Seen,
		Samples: s.sealed, Bytes: s.bytes, NextSeq: s.next,
	}
	for _, o := range s.open {
		if slices.Contains(closing, o) || slices.Contains(lasting, o) {
			p.Samples += uint64(o.enc.Samples())
			if o.seq == 0 {
				p.NextSeq++
			}
		} else {
			p.Samples += uint64(o.committed)
		}
	}
	for i := range sealed {
		p.Bytes += uint64(len(sealed[i].Payload))
	}
	return p
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
