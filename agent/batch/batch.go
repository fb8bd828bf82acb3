// Package batch is the stage that seals rows into numbered batches and commits
// them to the buffer.
//
// A batch is closed at an age in source time or at a size; a small one of a rule that is in no hurry waits longer. Between closings the
// open batch is checkpointed once per commit interval, so that a power cut
// costs at most that much. Nothing is counted as collected before the buffer
// has it on disk.
package batch

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/campaigns"
)

// Store is the part of the buffer that batches go to. Commit puts sealed
// batches and checkpoints of open ones on disk, all or nothing, before it
// returns, and keeps nothing of the records.
type Store interface {
	Commit(sealed, open []buffer.Record, p buffer.Progress) error
	PendingEvicted() []protocol.SeqRange
}

// OpenSealer is an ability that a Store may have: to make a record of the open batch with an ID as it was checkpointed last;
// nothing when there is no such batch.
type OpenSealer interface {
	SealOpen(id protocol.MessageID) error
}

// Default commit intervals, in source time.
const (
	CommitUrgent = time.Second      // CS4 and above
	CommitBulk   = 10 * time.Second // the others
)

// Limits that close a batch whatever its campaign says. They bound memory, and
// leave room for a whole block of the widest rows below what the cloud takes in one batch.
const (
	maxRows  = 1 << 18
	maxCells = batches.MaxCells / 2
)

// clockSlack is how far source time may go back within a batch, in µs: frames
// of several buses do not come in order. Beyond it the clock was set back.
const clockSlack = 1_000_000

// farApart is how far, in µs, a row's time may be from that of its batch's first one. Beyond it the clock was
// set, and the batch is closed and split: a lake refuses a batch that goes over many days.
const farApart = 24 * 3600 * 1_000_000

// maxStrays bounds the rows of all open batches that are far from the first row of their batch, and so the records that
// one commit makes of them: a quarter of the records that a commit may have.
const maxStrays = buffer.MaxRecords / 4

// maxRowTime is the year 10000 in µs; rows are from 1970 on and before it, as a lake keeps them.
const maxRowTime = 253_402_300_800_000_000

// Config of a Sealer.
type Config struct {
	Vehicle protocol.VehicleID
	Device  protocol.DeviceID
	Boot    protocol.BootID
	Store   Store
	// CommitUrgent and CommitBulk bound what a power cut costs; zero means the defaults.
	CommitUrgent, CommitBulk time.Duration
	// Grace is how long the last commit is tried again when the disk refuses it after the end: what the cloud
	// acknowledges meanwhile gives room. With zero it is tried once after the end.
	Grace   time.Duration
	Release func(*collect.Block)
	// TimeQuality says how far the clock that stamps rows can be trusted now; nil: nobody knows.
	TimeQuality func() batches.TimeQuality
	Log         *slog.Logger
}

// Stats are the counters of a Sealer.
type Stats struct {
	Batches   uint64 // sealed and on disk
	Samples   uint64 // on disk, in batches and checkpoints
	Failures  uint64 // commits that had to be tried again
	Refused   uint64 // rows with impossible times, left out
	Discarded uint64 // samples of batches that could not be encoded, or that the buffer will never take
	Seen      collect.Account
}

// Sealer makes batches.
type Sealer struct {
	cfg   Config
	stats struct{ batches, samples, failures, refused, discarded atomic.Uint64 }
	seen  struct{ received, dropped, decoded, unknown atomic.Uint64 }

	flush chan chan error // calls of Flush
	alive chan struct{}   // calls of Alive
	ended chan struct{}   // closed when Run returns

	// Owned by Run.
	captures    []*collect.Capture
	open        []*open // one for each capture, then those of captures that are closed
	account     collect.Account
	committed   collect.Account      // as of the last commit that covered every open batch
	committedAt int64                // source time of that commit, µs
	sealed      uint64               // samples in sealed batches
	bytes       uint64               // payload bytes of sealed batches
	next        uint64               // sequence of the next new batch
	drops       uint64               // dropped frames already declared in a batch
	now         int64                // source time, µs
	payload     []byte               // of the commit under way
	strays      int                  // rows far from the first one of their batch, since the last commit
	abandoned   []protocol.MessageID // discarded batches whose checkpoints are still to become records
	told        map[string]bool      // rules whose batches were discarded; one line in the log for each
}

// open is a capture's batch under way.
type open struct {
	capture   *collect.Capture
	enc       *batches.Encoder
	topic     string
	interval  int64               // the longest that a sample may wait for a commit, µs
	seq       uint64              // 0 until the first commit
	committed int                 // samples in its last checkpoint,
	payload   int                 // and bytes of it
	cells     int                 // values, absent ones included
	far       bool                // some rows are far apart
	quality   batches.TimeQuality // the worst that its times have had
	due       int64               // source time of the next commit, µs
}

// New makes a Sealer.
func New(cfg Config) *Sealer {
	if cfg.CommitUrgent == 0 {
		cfg.CommitUrgent = CommitUrgent
	}
	if cfg.CommitBulk == 0 {
		cfg.CommitBulk = CommitBulk
	}
	if cfg.TimeQuality == nil {
		cfg.TimeQuality = func() batches.TimeQuality { return batches.TimeUnknown }
	}
	return &Sealer{cfg: cfg, next: 1, flush: make(chan chan error), alive: make(chan struct{}), ended: make(chan struct{}), told: map[string]bool{}}
}

// Stats may be called from any goroutine.
func (s *Sealer) Stats() Stats {
	return Stats{
		Batches: s.stats.batches.Load(), Samples: s.stats.samples.Load(), Failures: s.stats.failures.Load(),
		Refused: s.stats.refused.Load(), Discarded: s.stats.discarded.Load(),
		Seen: collect.Account{
			Received: s.seen.received.Load(), Dropped: s.seen.dropped.Load(),
			Decoded: s.seen.decoded.Load(), Unknown: s.seen.unknown.Load(),
		},
	}
}

// Run seals until in is closed; what is open then is sealed too. When the disk
// refuses, it tries again until ctx ends: the pipeline stands still and the
// drivers count what they drop. It always reads in to its end.
func (s *Sealer) Run(ctx context.Context, in <-chan *collect.Block) error {
	defer close(s.ended)
	step := min(s.cfg.CommitUrgent, s.cfg.CommitBulk)
	silent, idle := time.Duration(0), time.NewTimer(step)
	defer idle.Stop()
	for {
		var err error
		select {
		case b, ok := <-in:
			if !ok {
				return s.Finish(ctx)
			}
			err = s.Add(ctx, b)
			s.cfg.Release(b)
			silent = 0
			idle.Reset(step)
		case <-idle.C: // the buses are silent: source time goes on with ours
			s.now += step.Microseconds()
			if silent += step; silent < s.cfg.CommitBulk {
				err = s.commit(ctx, false)
				idle.Reset(step)
			} else {
				err = s.Finish(ctx)
			}
		case done := <-s.flush:
			err = s.flushed(ctx, in)
			done <- err
		case <-s.alive:
		}
		if err != nil {
			for b := range in { // let the stages before us end
				s.cfg.Release(b)
			}
			return err
		}
	}
}

// Add puts the rows of b into their open batches and commits what is due.
func (s *Sealer) Add(ctx context.Context, b *collect.Block) error {
	s.adopt(b.Captures)
	for i := range b.Rows {
		row := &b.Rows[i]
		if row.Time < 0 || row.Time >= maxRowTime {
			s.refuse()
			continue
		}
		o := s.open[row.Capture]
		if o.enc.Samples() == o.committed {
			o.due = row.Time + o.interval
		}
		if o.enc.Rows() == 0 {
			o.quality = s.cfg.TimeQuality()
		}
		if bits := b.Bitmap(row); bits != nil {
			o.enc.AddChanged(int(row.Group), row.Time, b.Values(row), bits)
		} else {
			o.enc.Add(int(row.Group), row.Time, b.Values(row))
		}
		o.cells += int(row.Count)
		if apart(row.Time, o.enc.First()) {
			if err := s.stray(ctx, o); err != nil {
				return err
			}
		}
	}
	s.now = b.Now
	if s.committedAt == 0 {
		s.committedAt = s.now
	}
	s.account.CopyFrom(&b.Account)
	s.seen.received.Store(b.Account.Received)
	s.seen.dropped.Store(b.Account.Dropped)
	s.seen.decoded.Store(b.Account.Decoded)
	s.seen.unknown.Store(b.Account.Unknown)
	return s.commit(ctx, false)
}

func (s *Sealer) refuse() {
	if s.stats.refused.Add(1) == 1 {
		s.cfg.Log.Error("rows with impossible times are left out")
	}
}

// stray notes a row that is far from the first one of its batch. Each such row may become a record of its own, so they
// are committed after maxStrays of them. Collecting waits for that commit. This is rare: only a clock that jumps with
// every row makes so many strays; a clock that is set once makes few.
func (s *Sealer) stray(ctx context.Context, o *open) error {
	o.far = true
	if s.strays++; s.strays < maxStrays {
		return nil
	}
	return s.commit(ctx, false)
}

// apart says whether two times are far apart.
func apart(t, u int64) bool { return max(t-u, u-t) > farApart }

// full says whether a batch must be closed. A clock that was set back closes it too, and one that was set far.
func (s *Sealer) full(o *open) bool {
	age := s.now - o.enc.First()
	return o.far || age < -clockSlack || o.old(age) || o.enc.Size() >= o.capture.Bytes ||
		o.enc.Rows() >= maxRows || o.cells >= maxCells
}

// old says whether a batch of that age, in µs, is to be closed. One that has come to less than campaigns.SmallBatch
// bytes in each of its capture's ages goes on to the age of small ones.
func (o *open) old(age int64) bool {
	limit := o.capture.Age.Microseconds()
	if age >= limit && o.capture.SmallAge > o.capture.Age && int64(o.enc.Size())*limit < campaigns.SmallBatch*age {
		limit = o.capture.SmallAge.Microseconds()
	}
	return age >= limit
}

// waiting says whether o has samples that are not on disk.
func (o *open) waiting() bool { return o.enc.Samples() > o.committed }

// late says whether they have waited for their commit interval by the clock
// now; a clock that was set back since makes them late as well.
func (o *open) late(now int64) bool {
	return o.waiting() && (now >= o.due || now < o.due-o.interval-clockSlack)
}
