// Package batch is the stage that seals rows into numbered batches and commits
// them to the buffer.
//
// A batch is closed at an age in source time or at a size. Between closings the
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
	"telltale.dev/agent/campaign"
	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// Store is the part of the buffer that batches go to. Commit puts sealed
// batches and checkpoints of open ones on disk, all or nothing, before it
// returns, and keeps nothing of the records.
type Store interface {
	Commit(sealed, open []buffer.Record, p buffer.Progress) error
	PendingEvicted() []protocol.SeqRange
}

// Default commit intervals, in source time.
const (
	CommitUrgent = time.Second      // CS4 and above
	CommitBulk   = 10 * time.Second // the others
)

// Config of a Sealer.
type Config struct {
	Vehicle protocol.VehicleID
	Device  protocol.DeviceID
	Boot    protocol.BootID
	Store   Store
	// CommitUrgent and CommitBulk bound what a power cut costs; zero means the defaults.
	CommitUrgent, CommitBulk time.Duration
	Release                  func(*campaign.Block)
	Log                      *slog.Logger
}

// Stats are the counters of a Sealer.
type Stats struct {
	Batches  uint64 // sealed and on disk
	Samples  uint64 // on disk, in batches and checkpoints
	Failures uint64 // commits that had to be tried again
	Seen     signals.Account
}

// Sealer makes batches.
type Sealer struct {
	cfg   Config
	stats struct{ batches, samples, failures atomic.Uint64 }
	seen  struct{ received, dropped, decoded, unknown atomic.Uint64 }

	// Owned by Run.
	rules   []*campaign.Rule
	open    []*open // one for each rule
	account signals.Account
	cut     signals.Account // as of the last commit that covered every open batch
	sealed  uint64          // samples in sealed batches
	bytes   uint64          // payload bytes of sealed batches
	next    uint64          // sequence of the next new batch
	drops   uint64          // dropped frames already declared in a batch
	now     int64           // newest source time, µs
	payload []byte
}

// open is a rule's batch under way.
type open struct {
	rule      *campaign.Rule
	enc       *codec.Encoder
	topic     string
	seq       uint64 // 0 until the first commit
	committed int    // samples in its last checkpoint
	due       int64  // source time of the next commit, µs
}

// New makes a Sealer.
func New(cfg Config) *Sealer {
	if cfg.CommitUrgent == 0 {
		cfg.CommitUrgent = CommitUrgent
	}
	if cfg.CommitBulk == 0 {
		cfg.CommitBulk = CommitBulk
	}
	return &Sealer{cfg: cfg, next: 1}
}

// Stats may be called from any goroutine.
func (s *Sealer) Stats() Stats {
	return Stats{
		Batches: s.stats.batches.Load(), Samples: s.stats.samples.Load(), Failures: s.stats.failures.Load(),
		Seen: signals.Account{
			Received: s.seen.received.Load(), Dropped: s.seen.dropped.Load(),
			Decoded: s.seen.decoded.Load(), Unknown: s.seen.unknown.Load(),
		},
	}
}

// Run seals until in is closed; what is open then is sealed too. When the disk
// refuses, it tries again until ctx ends: the pipeline stands still and the
// drivers count what they drop.
func (s *Sealer) Run(ctx context.Context, in <-chan *campaign.Block) error {
	idle := time.NewTimer(s.cfg.CommitBulk)
	defer idle.Stop()
	for {
		select {
		case b, ok := <-in:
			if !ok {
				return s.commit(ctx, func(*open) bool { return true })
			}
			s.Add(b)
			s.cfg.Release(b)
			if err := s.commit(ctx, s.full); err != nil {
				drain(in)
				return err
			}
			idle.Reset(s.cfg.CommitBulk)
		case <-idle.C: // the bus is silent: nothing will close the open batches
			if err := s.commit(ctx, func(*open) bool { return true }); err != nil {
				drain(in)
				return err
			}
		}
	}
}

// drain lets the stages before us end.
func drain(in <-chan *campaign.Block) {
	for range in {
	}
}

// Add puts the rows of b into their open batches.
func (s *Sealer) Add(b *campaign.Block) {
	s.adopt(b.Rules)
	for i := range b.Rows {
		row := &b.Rows[i]
		o := s.open[row.Rule]
		if o.enc.Rows() == 0 {
			o.due = row.Time + s.interval(o.rule).Microseconds()
		}
		if bits := b.Bitmap(row); bits != nil {
			o.enc.AddChanged(int(row.Group), row.Time, b.Values(row), bits)
		} else {
			o.enc.Add(int(row.Group), row.Time, b.Values(row))
		}
		s.now = row.Time
	}
	s.account.CopyFrom(&b.Account)
	s.seen.received.Store(b.Account.Received)
	s.seen.dropped.Store(b.Account.Dropped)
	s.seen.decoded.Store(b.Account.Decoded)
	s.seen.unknown.Store(b.Account.Unknown)
}

func (s *Sealer) interval(r *campaign.Rule) time.Duration {
	if r.Class.Urgent() {
		return s.cfg.CommitUrgent
	}
	return s.cfg.CommitBulk
}

// full says whether a batch must be closed. A clock that was set back closes it too.
func (s *Sealer) full(o *open) bool {
	age := s.now - o.enc.First()
	return age < 0 || age >= o.rule.Age.Microseconds() || o.enc.Size() >= o.rule.Bytes
}
