package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"telltale.dev/cloud/ingest/ledger"
	"telltale.dev/protocol"
)

// Settings that a Processor takes when they are zero, and bounds that are not settings.
const (
	DefaultFlushRows = 250_000
	DefaultFlushAge  = time.Minute
	DefaultPoll      = 200 * time.Millisecond

	// MaxSinkTries is how often a batch is offered to a sink that says "not now".
	MaxSinkTries = 6

	readMessages = 256 // read at once
	// idleReads is how many reads in a row may give nothing before a flush takes
	// the rest of the stream for deleted.
	idleReads = 5
	// maxPending bounds the messages between commits, when they have few rows or none.
	maxPending = 100_000

	// lastLetters bounds how long the end waits for dead letters.
	lastLetters = 5 * time.Second

	retryMin = 100 * time.Millisecond // back-off, doubled up to retryMax
	retryMax = 10 * time.Second
)

// ErrStreamReplaced: the checkpoint is beyond the stream's end, so that lake and
// stream do not belong together.
var ErrStreamReplaced = errors.New("the lake's checkpoint is beyond the end of the stream")

// ProcessorConfig says what a Processor works with.
type ProcessorConfig struct {
	Name       string // of the stream: "UP"
	Stream     Stream
	Publisher  Publisher // of the dead-letter stream, for subjects dead.{stream}.{reason}
	Letters    Letters   // the dead-letter stream, so that a crash writes no letter twice; nil: it may
	Schemas    Schemas
	Lake       Lake
	Sinks      []Sink      // of telemetry batches
	OtherSinks []OtherSink // of all other messages

	// Debit takes samples from what a vehicle may send, in the share of urgent messages or in
	// the common one; a negative number gives them back. It must not block. Nil: nobody counts.
	Debit func(vid protocol.VehicleID, urgent bool, samples int)

	Times Times // of the rows; the zero value has no bounds

	FlushRows int           // commit when so many samples wait; DefaultFlushRows when 0
	FlushAge  time.Duration // or the oldest message since the last commit was read so long ago; DefaultFlushAge when 0
	Poll      time.Duration // longest wait for messages, and so for Flush; DefaultPoll when 0
	Log       *slog.Logger  // discarded when nil
}

// Processor reads one stream in order and brings each new batch to the lake and
// the sinks: those of a vehicle in order, the vehicles in turn, so that what one of
// them sends does not delay the others. Run does the work; the other methods may be
// called from anywhere.
type Processor struct {
	cfg     ProcessorConfig
	ledger  *ledger.Ledger
	schemas schemaCache     // owned by Run
	flushes chan chan error // requests to Run
	running atomic.Bool

	// Owned by Run.
	position position
	queue    fairQueue
	units    int           // of work that the message in hand costs
	worked   time.Duration // how long the last turn's work took
	samples  int           // appended since the last commit
	pending  int           // messages done since the last commit
	since    time.Time     // when the first of them was begun
	dates    dates         // of the rows since the last commit
	letters  []Message     // dead letters of the messages in hand

	buried  int                 // letters since the last commit
	ended   uint64              // the stream's last message when the processor started
	written map[string]struct{} // origins of letters from before the start; nil until one is needed

	deadFull time.Time // when the dead-letter stream was last found full

	committed atomic.Uint64
	stats     processorCounters
}

type processorCounters struct {
	messages, batches, samples, bytes, others, duplicates, replayed, dead, deadLost, sinkLost, waits, skipped, aside atomic.Uint64
	waiting                                                                                                          atomic.Bool
}

// ProcessorStats counts since the start of the process.
type ProcessorStats struct {
	Messages   uint64 `json:"messages"`   // read
	Batches    uint64 `json:"batches"`    // new ones, in the lake or on their way
	Samples    uint64 `json:"samples"`    // in them
	Bytes      uint64 `json:"bytes"`      // of their payloads
	Others     uint64 `json:"others"`     // new messages of other kinds
	Duplicates uint64 `json:"duplicates"` // dropped
	Replayed   uint64 `json:"replayed"`   // replays of what was stored, or could still not be decoded
	Dead       uint64 `json:"dead"`       // dead letters
	DeadLost   uint64 `json:"dead_lost"`  // dead letters that the dead-letter stream did not take
	SinkLost   uint64 `json:"sink_lost"`  // batches that a sink did not take
	Aside      uint64 `json:"aside"`      // of the dead letters: batches set aside for their times
	Skipped    uint64 `json:"skipped"`    // messages that the stream deleted unread
	Waits      uint64 `json:"waits"`      // times that something made the processor wait
	Waiting    bool   `json:"waiting"`    // now
	Checkpoint uint64 `json:"checkpoint"` // up to it all messages are in the lake for good
}

// NewProcessor restores the ledger from the lake's checkpoint.
func NewProcessor(cfg ProcessorConfig) (*Processor, error) {
	if cfg.Name == "" || cfg.Stream == nil || cfg.Lake == nil || cfg.Schemas == nil || cfg.Publisher == nil {
		return nil, errors.New("ingest processor: expected a name, a stream, a lake, a schema store and a dead-letter publisher")
	}
	if cfg.FlushRows <= 0 {
		cfg.FlushRows = DefaultFlushRows
	}
	if cfg.FlushAge <= 0 {
		cfg.FlushAge = DefaultFlushAge
	}
	if cfg.Poll <= 0 {
		cfg.Poll = DefaultPoll
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("stream", cfg.Name)
	p := &Processor{cfg: cfg, ledger: ledger.New(0, 0), flushes: make(chan chan error), queue: newFairQueue()}
	snapshot, err := p.position.restore(cfg.Lake.Checkpoint())
	if err == nil {
		err = p.ledger.Restore(snapshot)
	}
	if err != nil {
		return nil, fmt.Errorf("ingest processor: stream %s: checkpoint: %w", cfg.Name, err)
	}
	p.committed.Store(p.position.prefix())
	return p, nil
}

// Run works until ctx ends, then commits what it has and returns nil. The only
// errors are a lake that does not belong to the stream, and a last commit that
// went wrong, after which the next start reads the same messages again. It runs once.
func (p *Processor) Run(ctx context.Context) error {
	if p.running.Swap(true) {
		return errors.New("ingest processor: runs once")
	}
	if err := p.checkStream(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		select {
		case done := <-p.flushes:
			done <- p.flush(ctx)
		default:
		}
		p.step(ctx, p.cfg.Poll)
		if p.due() {
			p.commit(ctx)
		}
	}
	return p.last()
}

// last commits what is left when the context has ended.
func (p *Processor) last() error {
	if p.pending == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastLetters)
	defer cancel()
	if p.sendLetters(ctx); len(p.letters) > 0 {
		return fmt.Errorf("ingest processor: %d dead letters could not be written: nothing is committed, and all is read again at the next start", len(p.letters))
	}
	if err := p.cfg.Lake.Commit(p.position.number(), p.position.checkpoint(p.ledger.Snapshot())); err != nil {
		return fmt.Errorf("ingest processor: last commit: %w", err)
	}
	p.committedAll()
	return nil
}

// checkStream refuses a stream that ends before the checkpoint: it would swallow
// new messages silently until it is as long as the old one.
func (p *Processor) checkStream(ctx context.Context) error {
	ended, ok := p.cfg.Stream.(Ended)
	if !ok {
		return nil
	}
	var last uint64
	err := p.retry(ctx, "stream cannot be read", func() (err error) {
		last, err = ended.Last(ctx)
		return err
	})
	if err != nil {
		return nil // ctx ended
	}
	p.ended = last
	if checkpoint := p.position.read; last < checkpoint {
		return fmt.Errorf("ingest processor: stream %s ends at %d, checkpoint is %d: %w", p.cfg.Name, last, checkpoint, ErrStreamReplaced)
	}
	return nil
}

// due says whether it is time to commit.
func (p *Processor) due() bool {
	return p.pending > 0 && (p.samples >= p.cfg.FlushRows || p.pending >= maxPending || p.buried >= maxBuried || time.Since(p.since) >= p.cfg.FlushAge)
}

// commit brings everything processed into the lake for good, however long that
// takes: while the disk is full nothing more is read, and nothing is lost, as
// the stream keeps what is not committed.
func (p *Processor) commit(ctx context.Context) {
	p.sendLetters(ctx)
	if ctx.Err() != nil {
		return // dead letters may wait; the last commit decides
	}
	last, snapshot := p.position.number(), p.position.checkpoint(p.ledger.Snapshot())
	err := p.retry(ctx, "lake cannot be written, nothing is read until it can", func() error {
		return p.cfg.Lake.Commit(last, snapshot)
	})
	if err == nil {
		p.committedAll()
	}
}

func (p *Processor) committedAll() {
	p.samples, p.pending, p.buried = 0, 0, 0
	clear(p.dates)
	p.committed.Store(p.position.prefix())
}

// Flush reads what the stream holds by now and commits it. It returns when that
// is durable, or ctx ends.
func (p *Processor) Flush(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case p.flushes <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush is the part of Flush that Run does.
func (p *Processor) flush(ctx context.Context) error {
	until, wait, tries := ^uint64(0), time.Duration(0), 1
	if ended, ok := p.cfg.Stream.(Ended); ok {
		last, err := ended.Last(ctx)
		if err != nil {
			return fmt.Errorf("ingest processor: flush: %w", err)
		}
		until, wait, tries = last, p.cfg.Poll, idleReads // they are there: give the stream time to hand them over
	}
	for idle := 0; (p.position.next <= until && idle < tries || p.position.prefix() < min(until, p.position.read)) && ctx.Err() == nil; {
		read, done := p.step(ctx, wait)
		if idle++; read > 0 {
			idle = 0
		}
		if p.due() || read+done == 0 && p.pending > 0 { // what is pending would cut the next wait short
			p.commit(ctx)
		}
	}
	if p.pending > 0 {
		p.commit(ctx)
	}
	return ctx.Err()
}

// retry calls f until it gives nil or ctx ends, and says so once at the first
// failure and once when it is over. The error is ctx's.
func (p *Processor) retry(ctx context.Context, what string, f func() error) error {
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		err := f()
		if err == nil {
			if p.stats.waiting.Swap(false) {
				p.cfg.Log.Info("processing goes on")
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !p.stats.waiting.Swap(true) {
			p.stats.waits.Add(1)
			p.cfg.Log.Warn(what, "err", err)
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Checkpoint is the sequence up to which all messages are in the lake for good.
// The stream may forget everything up to it, and must keep everything after it.
func (p *Processor) Checkpoint() uint64 { return p.committed.Load() }

// Ledger is the processor's ledger, up to date with what was read.
func (p *Processor) Ledger() *ledger.Ledger { return p.ledger }

// Accounts is the processor's part of a vehicle's ledger; ledger.Merge joins those of all lanes.
func (p *Processor) Accounts(vid protocol.VehicleID) []ledger.Account { return p.ledger.Accounts(vid) }

// Stats gives the counters.
func (p *Processor) Stats() ProcessorStats {
	s := &p.stats
	return ProcessorStats{
		Messages: s.messages.Load(), Batches: s.batches.Load(), Samples: s.samples.Load(), Bytes: s.bytes.Load(),
		Others: s.others.Load(), Duplicates: s.duplicates.Load(), Replayed: s.replayed.Load(),
		Dead: s.dead.Load(), DeadLost: s.deadLost.Load(), SinkLost: s.sinkLost.Load(),
		Aside: s.aside.Load(), Skipped: s.skipped.Load(), Waits: s.waits.Load(), Waiting: s.waiting.Load(), Checkpoint: p.committed.Load(),
	}
}
