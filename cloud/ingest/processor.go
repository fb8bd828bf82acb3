package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
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
	Name      string // of the stream: "UP"
	Stream    Stream
	Publisher Publisher // of the dead-letter stream, for subjects dead.{stream}.{reason}
	Letters   Letters   // the dead-letter stream, so that a crash writes no letter twice; nil: it may
	Schemas   Schemas
	Lake      Lake
	Consumers []Consumer // beside the lake
	// Checkpoints keeps where the consumers stand, by "{Name}/{consumer}". It must be set when there are any.
	Checkpoints Checkpoints
	// Patience is for how long a message is offered to a consumer that refuses it; DefaultPatience when 0.
	Patience time.Duration

	// Debit takes samples from what a vehicle may send, in the share of urgent messages or in
	// the common one; a negative number gives them back. It must not block. Nil: nobody counts.
	Debit func(vid protocol.VehicleID, urgent bool, samples int)

	Times Times // of the rows; the zero value has no bounds

	FlushRows int           // commit when so many samples wait; DefaultFlushRows when 0
	FlushAge  time.Duration // or the oldest message since the last commit was read so long ago; DefaultFlushAge when 0
	Poll      time.Duration // longest wait for messages, and so for Flush; DefaultPoll when 0
	Log       *slog.Logger  // discarded when nil
}

// Processor reads one stream in order, decodes each new batch once and hands it to the lake
// and the consumers: those of a vehicle in order, the vehicles in turn, so that what one of
// them sends does not delay the others. None of them can hold it up. Run does the work; the
// other methods may be called from anywhere.
type Processor struct {
	cfg       ProcessorConfig
	started   time.Time
	ledger    *ledger.Ledger
	consumers []*consumer
	flushes   chan *flush // requests to Run
	running   atomic.Bool
	keeping   sync.Mutex     // one keep at a time
	commits   sync.WaitGroup // the commit under way

	positionMu sync.Mutex // guards position against others than Run, which alone changes it
	position   position

	// Owned by Run.
	schemas  schemaCache
	lake     toLake
	queue    fairQueue
	units    int           // of work that the message in hand costs
	worked   time.Duration // how long the last turn's work took
	letters  []Message     // dead letters of the messages in hand
	flushing []*flush
	broken   error // the lake is not what it should be: Run ends

	ended    uint64              // the stream's last message when the processor started
	written  map[string]struct{} // origins of letters from before the start; nil until one is needed
	deadFull time.Time           // when the dead-letter stream was last found full

	committed atomic.Uint64
	reading   waiter // for the stream or the schemas
	writing   waiter // for the lake
	saving    waiter // for the consumers' checkpoints
	decoding  waiter // for the schema of what is read again for the lake
	stats     processorCounters
}

type processorCounters struct {
	messages, batches, samples, bytes, others, duplicates, replayed, dead, deadLost, skipped, aside, held atomic.Uint64
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
	Aside      uint64 `json:"aside"`      // of the dead letters: batches set aside for their times
	Skipped    uint64 `json:"skipped"`    // messages that the stream deleted unread
	Waits      uint64 `json:"waits"`      // times that something made the processor wait
	Waiting    bool   `json:"waiting"`    // now
	Held       uint64 `json:"held"`       // bytes of messages that wait for their turn in memory
	Checkpoint uint64 `json:"checkpoint"` // up to it all messages are in the lake for good
}

func (cfg ProcessorConfig) withDefaults() ProcessorConfig {
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
	if cfg.Patience <= 0 {
		cfg.Patience = DefaultPatience
	}
	return cfg
}

// NewProcessor restores the ledger from the lake's checkpoint.
func NewProcessor(cfg ProcessorConfig) (*Processor, error) {
	if cfg.Name == "" || cfg.Stream == nil || cfg.Lake == nil || cfg.Schemas == nil || cfg.Publisher == nil {
		return nil, errors.New("ingest processor: expected a name, a stream, a lake, a schema store and a dead-letter publisher")
	}
	if len(cfg.Consumers) > 0 && cfg.Checkpoints == nil {
		return nil, errors.New("ingest processor: expected a place for the consumers' checkpoints")
	}
	cfg = cfg.withDefaults()
	cfg.Log = cfg.Log.With("stream", cfg.Name)
	p := &Processor{
		cfg: cfg, started: time.Now(), ledger: ledger.New(ledger.Bounds{}), flushes: make(chan *flush), queue: newFairQueue(), schemas: schemaCache{store: cfg.Schemas},
	}
	last, checkpoints, err := cfg.Lake.Checkpoint()
	var waiting ledger.Ranges
	var ledgers [][]byte
	if err == nil {
		waiting, ledgers, err = p.position.restore(last, checkpoints)
	}
	if err == nil {
		err = p.ledger.Restore(ledgers...)
	}
	if err != nil {
		return nil, fmt.Errorf("ingest processor: stream %s: checkpoint: %w", cfg.Name, err)
	}
	p.committed.Store(min(p.position.prefix(), below(&waiting, p.position.read)))
	p.lake.reset(&p.cfg, last, waiting)
	for _, c := range cfg.Consumers {
		p.consumers = append(p.consumers, newConsumer(p, c))
	}
	if err := p.restoreConsumers(); err != nil {
		return nil, fmt.Errorf("ingest processor: stream %s: %w", cfg.Name, err)
	}
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beside sync.WaitGroup
	for _, c := range p.consumers {
		beside.Go(func() { c.run(ctx) })
	}
	beside.Go(func() { p.keepEvery(ctx) })
	for ctx.Err() == nil && p.broken == nil {
		p.step(ctx)
		p.settle()
		if p.behind() {
			p.catchUp(ctx)
		}
		if p.due() {
			p.commit(ctx)
		}
		p.flushed(ctx)
	}
	cancel()
	beside.Wait()
	return p.last()
}

// checkStream refuses a stream that ends before the checkpoint: it would swallow
// new messages silently until it is as long as the old one.
func (p *Processor) checkStream(ctx context.Context) error {
	ended, ok := p.cfg.Stream.(Newest)
	if !ok {
		return nil
	}
	var last uint64
	err := p.retry(ctx, &p.reading, "stream cannot be read", func() (err error) {
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
	p.checkConsumers(last)
	return nil
}

// flush is a request to Run: everything up to until is to be in the lake and with the consumers.
type flush struct {
	until uint64
	idle  int // reads in a row that gave nothing
	done  chan struct{}
}

// Flush reads what the stream holds by now, commits it and waits until the consumers have it, but for
// one that refuses. It returns when that is durable, or ctx ends.
func (p *Processor) Flush(ctx context.Context) error {
	f := &flush{until: ^uint64(0), idle: idleReads - 1, done: make(chan struct{})}
	if ended, ok := p.cfg.Stream.(Newest); ok {
		last, err := ended.Last(ctx)
		if err != nil {
			return fmt.Errorf("ingest processor: flush: %w", err)
		}
		f.until, f.idle = last, 0 // they are there: give the stream time to hand them over
	}
	select {
	case p.flushes <- f:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reached says whether everything that a request is about is done, but for the lake and the consumers.
func (p *Processor) reached(f *flush) bool {
	return p.position.prefix() >= f.until || f.idle >= idleReads && p.queue.messages == 0
}

// flushable says whether a request waits for a commit only.
func (p *Processor) flushable() bool {
	return slices.ContainsFunc(p.flushing, p.reached) && !p.behind()
}

// flushed takes requests, and answers those that are fulfilled.
func (p *Processor) flushed(ctx context.Context) {
	select {
	case f := <-p.flushes:
		p.flushing = append(p.flushing, f)
	default:
	}
	if len(p.flushing) == 0 || p.lake.cut != nil || p.lake.pending > 0 || !p.lake.waiting.Empty() {
		return
	}
	idle := !slices.ContainsFunc(p.consumers, func(c *consumer) bool { return !c.idle() })
	if idle && slices.ContainsFunc(p.flushing, p.reached) {
		p.keep(ctx)
		p.flushing = slices.DeleteFunc(p.flushing, func(f *flush) bool {
			reached := p.reached(f)
			if reached {
				close(f.done)
			}
			return reached
		})
	}
}

// waiter says once that something is waited for, and once that it is over.
type waiter struct {
	on    atomic.Bool
	times atomic.Uint64
}

func (w *waiter) begin(log *slog.Logger, what string, err error) {
	if !w.on.Swap(true) {
		w.times.Add(1)
		log.Warn(what, "err", err)
	}
}

func (w *waiter) end(log *slog.Logger) {
	if w.on.Load() && w.on.Swap(false) {
		log.Info("processing goes on")
	}
}

// retry calls f until it gives nil or ctx ends. The error is ctx's.
func (p *Processor) retry(ctx context.Context, w *waiter, what string, f func() error) error {
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		err := f()
		if err == nil {
			w.end(p.cfg.Log)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.begin(p.cfg.Log, what, err)
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

// Checkpoint is the sequence up to which all messages are in the lake for good. What the
// stream may forget is Needed.
func (p *Processor) Checkpoint() uint64 { return p.committed.Load() }

// Ledger is the processor's ledger, up to date with what was read.
func (p *Processor) Ledger() *ledger.Ledger { return p.ledger }

// Accounts is what the processor's own ledger has of a vehicle; ledger.Merge joins those of all processors.
func (p *Processor) Accounts(vid protocol.VehicleID) []ledger.Account { return p.ledger.Accounts(vid) }

// Stats gives the counters.
func (p *Processor) Stats() ProcessorStats {
	s := &p.stats
	return ProcessorStats{
		Messages: s.messages.Load(), Batches: s.batches.Load(), Samples: s.samples.Load(), Bytes: s.bytes.Load(),
		Others: s.others.Load(), Duplicates: s.duplicates.Load(), Replayed: s.replayed.Load(),
		Dead: s.dead.Load(), DeadLost: s.deadLost.Load(), Aside: s.aside.Load(), Skipped: s.skipped.Load(), Held: s.held.Load(),
		Waits:   p.reading.times.Load() + p.writing.times.Load() + p.saving.times.Load() + p.decoding.times.Load(),
		Waiting: p.reading.on.Load() || p.writing.on.Load() || p.saving.on.Load() || p.decoding.on.Load(), Checkpoint: p.committed.Load(),
	}
}

// Consumers gives the consumers' counters, in their order.
func (p *Processor) Consumers() []ConsumerStats {
	list := make([]ConsumerStats, len(p.consumers))
	for i, c := range p.consumers {
		list[i] = c.stats()
	}
	return list
}
