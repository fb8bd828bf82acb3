package backbone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config of a Backbone. One of Dir and URL must be set.
type Config struct {
	// Dir is the data directory of the embedded server; it is created when missing.
	Dir string
	// URL reaches an existing NATS server instead: nats://host:port or tls://…, several separated by commas.
	URL string
	// Credentials are the files for URL. User and password may stand within the URL instead.
	Credentials Credentials
	// Replicas of new streams and buckets on an existing cluster. Zero: 3 on a cluster, 1 elsewhere.
	Replicas int
	// Limits of the streams Up, Low and Dead by their names. A missing one has no limits but the disk's.
	Limits map[string]Limits
	// Timers bounds the timers.
	Timers TimerLimits
	// Streams are further streams; Declare opens more of them later.
	Streams []Stream
	// MinFree is the space of the disk that streams never use, in bytes; buckets stop at half of it.
	// Zero: 256 MiB; negative: no guard, so that a full disk is a failure that needs a restart, where a guarded
	// backbone goes on by itself once there is room.
	// For Dir only: an external server has its own limits.
	MinFree int64
	// StartTimeout bounds Open, and the wait for each entry of a bucket that is listed. Zero: 30 s. Recovering a large data directory takes long after a crash.
	StartTimeout time.Duration
	// What tests replace: the question for the free bytes of a disk, and how often refusals and passing failures are looked at.
	free                    func(string) (int64, error)
	watchEvery, reviveEvery time.Duration
	clock                   clock         // of timers
	timerTick               time.Duration // how often they look at it
	// Log receives the server's warnings and errors. Nil: none.
	Log *slog.Logger
}

// defaultMinFree is the default of Config.MinFree.
const defaultMinFree = 256 << 20

// Backbone is an open backbone. Its methods may be called from many goroutines.
type Backbone struct {
	log    *slog.Logger
	server *embedded // nil for an external server
	writer link      // publishes and commits, but for bulk data
	bulk   link      // of the stream Low: the server works off a connection in order, and urgent messages must not wait for a batch of bulk data to be on disk
	reader link      // everything else, so that a large read never delays an acknowledgement
	// declared is the table of the streams. Whoever replaces it, or closes the backbone, holds declaring.
	declared     atomic.Pointer[table]
	declaring    sync.Mutex
	ended        bool             // guarded by declaring: nothing more can be declared
	runCommitter func(*committer) // starts the group committer of a stream
	// book has the timers once there are any. Whoever reads them from disk holds opening.
	book        atomic.Pointer[timerBook]
	opening     sync.Mutex
	clock       clock
	timerLimits TimerLimits
	timerTick   time.Duration
	// replicas of new buckets.
	replicas int
	// patience is how long a list waits for its next entry.
	patience time.Duration
	stats    counters
	fault    *fault
	outage   *outage
	stop     context.CancelFunc // ends the committers at once
	running  sync.WaitGroup     // the committers
	rest     context.CancelFunc // ends the watching and mending
	resting  sync.WaitGroup     // watch and mend
	refusing refusals

	closing sync.Once
	closed  chan struct{}

	mu   sync.Mutex // guards idle
	idle map[string][]*Reader
}

// link is one connection to the server.
type link struct {
	conn *nats.Conn
	js   jetstream.JetStream
}

// Open starts the embedded server on cfg.Dir, or connects to cfg.URL, and makes
// the streams that are missing. The error says in one line what to do.
func Open(cfg Config) (*Backbone, error) {
	if (cfg.Dir == "") == (cfg.URL == "") {
		return nil, errors.New("backbone needs either a data directory or the URL of a NATS server")
	}
	if cfg.URL == "" && cfg.Credentials != (Credentials{}) {
		return nil, fmt.Errorf("credentials for a nats server: expected its URL beside them: %w", ErrInvalid)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MinFree == 0 {
		cfg.MinFree = defaultMinFree
	}
	if cfg.free == nil {
		cfg.free = freeBytes
	}
	cfg.watchEvery, cfg.reviveEvery = cmp.Or(cfg.watchEvery, watchEvery), cmp.Or(cfg.reviveEvery, reviveEvery)
	if cfg.clock.wall == nil {
		cfg.clock = systemClock()
	}
	if cfg.StartTimeout <= 0 {
		cfg.StartTimeout = startTimeout
	}
	b := &Backbone{log: cfg.Log, patience: cfg.StartTimeout, fault: newFault(cfg.Log), outage: newOutage(), closed: make(chan struct{}), idle: map[string][]*Reader{},
		clock: cfg.clock, timerLimits: cfg.Timers, timerTick: cmp.Or(cfg.timerTick, timerTick), refusing: refusals{why: map[string]string{}}}
	b.declared.Store(&table{})
	b.fault.revive = cfg.Dir != "" && cfg.MinFree > 0
	if err := b.open(cfg); err != nil {
		b.shutdown()
		if cfg.Dir != "" && errors.Is(err, context.DeadlineExceeded) {
			err = tooSlow(cfg)
		}
		return nil, err
	}
	return b, nil
}

// open leaves a half-open b to shutdown when it fails.
func (b *Backbone) open(cfg Config) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), cfg.StartTimeout)
	defer cancel()
	connect := b.connectURL
	if err := cfg.Credentials.check(); err != nil {
		return err
	}
	if cfg.Dir != "" {
		if b.server, err = startEmbedded(cfg, b.fault); err != nil {
			return err
		}
		connect = b.connectEmbedded
	}
	for name, l := range map[string]*link{"telltale-cloud write": &b.writer, "telltale-cloud bulk": &b.bulk, "telltale-cloud read": &b.reader} {
		if *l, err = connect(ctx, cfg, name); err != nil {
			return err
		}
	}
	if b.replicas, err = b.checkServer(ctx, cfg); err != nil {
		return err
	}
	if err := b.checkRecovered(ctx); err != nil {
		return err
	}
	b.start(cfg)
	b.declaring.Lock()
	defer b.declaring.Unlock()
	for _, s := range append(standing(cfg.Limits), cfg.Streams...) {
		if err := b.declare(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// start begins to watch over the storage, and sets runCommitter, which starts the group committer of a stream.
func (b *Backbone) start(cfg Config) {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	b.fault.on(func(why error) {
		b.refuses("backbone", why.Error())
		b.outage.happened()
	}, cancel)
	b.runCommitter = func(l *committer) { b.running.Go(func() { l.run(ctx) }) }
	beside, rest := context.WithCancel(ctx)
	b.rest = rest
	b.resting.Go(func() { b.watch(beside, cfg.watchEvery) })
	if b.server != nil {
		b.resting.Go(func() { b.mend(beside, cfg) })
	}
}

// orClosed gives ErrClosed instead of what a closing connection says.
func (b *Backbone) orClosed(err error) error {
	select {
	case <-b.closed:
		return ErrClosed
	default:
		return err
	}
}

// Publish stores m in the stream of its subject, together with what else waits.
// It does not wait itself. done is called exactly once, from any goroutine and
// possibly before Publish returns, with m's sequence in the stream after m is on
// disk, or with an error that wraps one of ErrBusy, ErrFull, ErrTooLarge,
// ErrInvalid, ErrRefused, ErrUnknown, ErrFailed, ErrClosed. done must not block: other messages
// of the stream wait for it. m.Header is copied; m.Data must not change until done.
func (b *Backbone) Publish(m Message, done func(seq uint64, err error)) {
	if err := b.publish(m, done, nil); err != nil {
		b.stats.refuse(err)
		done(0, err)
	}
}

// publish queues m; expects is the sequence that PublishExpecting demands, or nil.
func (b *Backbone) publish(m Message, done func(uint64, error), expects *uint64) error {
	if err := b.fault.refusal(); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	declared := b.declared.Load()
	l := declared.of(m.Subject)
	if l == nil {
		return noStream(declared)
	}
	if l.grouped {
		if expects != nil {
			return errGrouped(l)
		}
		head := appendHead(make([]byte, 0, headSize(&m)), &m)
		return l.add(item{head: head, data: m.Data, size: len(head) + len(m.Data), done: done, since: time.Now()})
	}
	msg, size := m.wire()
	if expects != nil {
		expect(msg, *expects)
	}
	return l.add(item{msg: msg, size: size, done: done, since: time.Now(), expects: expects})
}

// errGrouped: what is asked for is not to be had of a grouped stream.
func errGrouped(l *committer) error {
	return fmt.Errorf("stream %s keeps groups of messages, expected one whose messages stand alone: %w", l.Name, ErrInvalid)
}

// noStream says which subjects there are.
func noStream(declared *table) error {
	return fmt.Errorf("subject is of no stream, expected one that begins with %s: %w", expected(declared.prefixes), ErrInvalid)
}

// Failed is closed when a write to disk failed for good: nothing more can be stored until
// the process is started again, and it should end itself. Err says what happened. A disk that is
// full, or too many open files, is no such failure where Config.MinFree guards the disk: see Refusals.
func (b *Backbone) Failed() <-chan struct{} { return b.fault.failed }

// Err wraps ErrFailed after a failure, and is nil before.
func (b *Backbone) Err() error { return b.fault.err() }

// Close stores what waits, ends readers and watches, and stops the server. It
// returns when all of that is done; what the server does not answer for within 20 s ends in
// ErrUnknown. Closing twice is harmless.
func (b *Backbone) Close() error {
	b.closing.Do(b.shutdown)
	return b.fault.err()
}

func (b *Backbone) shutdown() {
	if b.rest != nil {
		b.rest()
		b.resting.Wait()
	}
	b.declaring.Lock() // what is being declared is closed with the rest
	for _, l := range b.declared.Load().names {
		l.close()
	}
	b.ended = true
	b.declaring.Unlock()
	if b.stop != nil {
		defer time.AfterFunc(closeTimeout, b.stop).Stop()
	}
	b.running.Wait()
	close(b.closed)
	b.closeIdle()
	for _, l := range []link{b.writer, b.bulk, b.reader} {
		if l.conn != nil {
			l.conn.Close()
		}
	}
	if b.stop != nil {
		b.stop()
	}
	if b.server != nil && !b.server.stop() {
		b.log.Error("the embedded server does not stop; it ends with the process")
	}
}
