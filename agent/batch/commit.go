package batch

import (
	"context"
	"errors"
	"slices"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/topics"
)

// adopt makes room for the captures of a block. The batch of a capture that is closed
// stays in the list, behind those of open captures, until the next commit seals it.
func (s *Sealer) adopt(captures []*collect.Capture) {
	if slices.Equal(s.captures, captures) {
		return
	}
	next := make([]*open, 0, len(captures))
	for _, r := range captures {
		if i := slices.IndexFunc(s.open, func(o *open) bool { return o.capture == r }); i >= 0 {
			next = append(next, s.open[i])
			continue
		}
		topic := topics.Topic{Kind: topics.Telemetry, Vehicle: s.cfg.Vehicle, Campaign: r.Campaign}
		o := &open{capture: r, enc: batches.NewEncoder(r.Schema, r.Hash.ID()), topic: topic.String(), interval: s.cfg.CommitBulk.Microseconds()}
		if r.Class.Urgent() {
			o.interval = s.cfg.CommitUrgent.Microseconds()
		}
		next = append(next, o)
	}
	for _, o := range s.open {
		if !slices.Contains(next, o) && o.enc.Rows() > 0 {
			next = append(next, o)
		}
	}
	s.captures, s.open = slices.Clone(captures), next
}

// Finish seals every open batch and puts the account on disk, also when there is nothing to seal.
func (s *Sealer) Finish(ctx context.Context) error {
	if err := s.commit(ctx, true); err != nil || s.committed.Equal(&s.account) {
		return err
	}
	s.committed.CopyFrom(&s.account)
	return s.persist(ctx, nil, nil)
}

// commit seals all batches, or those that are full or whose capture is closed, and
// checkpoints the others that are due.
func (s *Sealer) commit(ctx context.Context, all bool) error {
	var closing, lasting []*open
	horizon := int64(0) // half the longest commit interval of those
	for n := range s.open {
		i := (n + len(s.captures)) % len(s.open) // closed captures first: their rows are older, and so are their numbers
		switch o := s.open[i]; {
		case o.enc.Rows() == 0:
			continue
		case all || i >= len(s.captures) || s.full(o):
			closing = append(closing, o)
		case o.late(s.now):
			lasting = append(lasting, o)
		default:
			continue
		}
		horizon = max(horizon, s.open[i].interval/2)
	}
	if s.strays = 0; len(closing)+len(lasting) == 0 {
		return nil
	}
	since := s.now - s.committedAt
	// The batch of a closed capture may hold rows of the same frames as the batches of the others, as when one rule
	// takes the place of another. Only a commit that covers all of them says how far the frames are on disk.
	gone := len(s.open) > len(s.captures)
	overdue := since < 0 || since >= s.cfg.CommitBulk.Microseconds()*3/2 || gone
	whole := true
	for _, o := range s.open {
		if !o.waiting() || slices.Contains(closing, o) || slices.Contains(lasting, o) {
			continue
		}
		// Those that would be due soon come along: one commit instead of two,
		// and mostly one that covers everything. When the last one that covered
		// everything is long ago, all come along.
		if overdue || o.due-s.now <= horizon {
			lasting = append(lasting, o)
		} else {
			whole = false
		}
	}
	if whole {
		s.committed.CopyFrom(&s.account)
		s.committedAt = s.now
	}
	if err := s.persist(ctx, closing, lasting); err != nil {
		return err
	}
	s.open = slices.DeleteFunc(s.open, func(o *open) bool { return !slices.Contains(s.captures, o.capture) })
	return nil
}

// Waits between tries of a refused write.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 5 * time.Second
	// complainEvery is how often a disk that refuses for long is complained of.
	complainEvery = time.Minute
)

// persist writes again and again until it succeeds, or until Grace has passed since ctx ended. What the buffer will
// never take is discarded, so that nobody else has to wait for it.
func (s *Sealer) persist(ctx context.Context, closing, lasting []*open) error {
	c := s.compose(closing, lasting)
	var began, complained, ended time.Time
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		err := s.sealAbandoned()
		if err == nil {
			err = s.cfg.Store.Commit(c.sealed, c.lasting, c.progress)
		}
		if err == nil {
			if wait > minRetry {
				s.cfg.Log.Info("buffer accepts writes again")
			}
			s.settle(c)
			return nil
		}
		s.stats.failures.Add(1)
		if errors.Is(err, buffer.ErrRecord) && len(closing)+len(lasting) > 0 {
			closing, lasting = s.setAside(c, err)
			c = s.compose(closing, lasting)
			continue
		}
		if ctx.Err() != nil {
			if ended.IsZero() {
				ended = time.Now()
			}
			if time.Since(ended) >= s.cfg.Grace {
				return commitError{err}
			}
			time.Sleep(min(minRetry, s.cfg.Grace))
			continue
		}
		if began.IsZero() {
			began = time.Now()
		}
		if time.Since(complained) >= complainEvery {
			complained = time.Now()
			s.cfg.Log.Error("buffer refuses the batch; collecting stands still until it accepts", "since", time.Since(began).Round(time.Second), "error", err)
		}
		s.pause(ctx, wait)
	}
}

// pause waits, or until ctx ends, and answers Alive meanwhile.
func (s *Sealer) pause(ctx context.Context, d time.Duration) {
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case <-s.alive:
		}
	}
}

// commitError says that samples were not on disk when the agent had to stop.
type commitError struct{ err error }

func (e commitError) Error() string { return "last samples not committed: " + e.err.Error() }
func (e commitError) Unwrap() error { return e.err }

// settle moves the Sealer's own numbers on, now that c is on disk.
func (s *Sealer) settle(c *commitment) {
	s.next, s.bytes = c.progress.NextSeq, c.progress.Bytes
	if len(c.sealed) > 0 {
		s.drops = c.dropped
	}
	for i := range c.sealed {
		s.sealed += uint64(c.sealed[i].Samples)
	}
	for _, o := range c.closed {
		if !slices.Contains(c.owners, o) { // all of it was discarded, and its number is still to be used
			o.reset(o.seq)
			continue
		}
		o.reset(0)
	}
	for i, o := range c.open {
		o.seq, o.committed, o.payload = c.lasting[i].ID.Seq, o.enc.Samples(), len(c.lasting[i].Payload)
	}
	s.stats.batches.Add(uint64(len(c.sealed)))
	s.stats.samples.Store(c.progress.Samples)
}

// reset begins a new batch, with the given sequence or a new one (0).
func (o *open) reset(seq uint64) {
	o.enc.Reset()
	o.seq, o.committed, o.cells, o.far = seq, 0, 0, false
}

// record makes the record of a payload.
func (s *Sealer) record(o *open, h batches.Header, payload []byte, samples int, first, last int64) buffer.Record {
	return buffer.Record{
		Topic: o.topic, ContentType: protocol.ContentTelemetry, Priority: o.capture.Class, ID: h.ID,
		Schema: o.capture.Hash, Purpose: o.capture.Purpose, Samples: uint32(samples), First: first, Last: last,
		TimeQuality: h.TimeQuality, Created: time.Now(), TTL: o.capture.Class.TimeToLive(), Evicted: h.Evicted, Payload: payload,
	}
}
