package backbone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"telltale.dev/hal/durable"
)

// The streams. A message's subject decides which one stores it.
const (
	Up   = "UP"   // up.{stamp}.{vid}.{kind}: urgent data of vehicles
	Low  = "LOW"  // low.{part}.{vid}.{kind}: bulk data of vehicles
	Dead = "DEAD" // dead.{stream}.{reason}: what could not be processed
)

// streams lists each stream with the first part of its subjects.
func streams() map[string]string {
	return map[string]string{"up": Up, "low": Low, "dead": Dead}
}

// Config of a Backbone. One of Dir and URL must be set.
type Config struct {
	// Dir is the data directory of the embedded server; it is created when missing.
	Dir string
	// URL reaches an existing NATS server instead: nats://host:port or tls://…, several separated by commas.
	URL string
	// Credentials is the file with the NATS credentials for URL. Empty: none, or those within the URL.
	Credentials string
	// Replicas of new streams and buckets on an existing cluster. Zero: 3 on a cluster, 1 elsewhere.
	Replicas int
	// Limits by name of stream. A missing one has no limits but the disk's.
	Limits map[string]Limits
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
	// Log receives the server's warnings and errors. Nil: none.
	Log *slog.Logger
}

// Limits of a stream. At MaxBytes new messages are refused (ErrFull): old ones are never deleted for them.
type Limits struct {
	MaxBytes int64         // of all messages with their overhead; zero: no limit
	MaxAge   time.Duration // after which a message is deleted, read or not; zero: never
}

// defaultMinFree is the default of Config.MinFree.
const defaultMinFree = 256 << 20

// Backbone is an open backbone. Its methods may be called from many goroutines.
type Backbone struct {
	log    *slog.Logger
	server *embedded // nil for an external server
	writer link      // publishes and commits
	reader link      // everything else, so that a large read never delays an acknowledgement
	lanes  map[string]*lane
	// replicas of new buckets.
	replicas int
	// patience is how long a list waits for its next entry.
	patience time.Duration
	stats    counters
	fault    *fault
	outage   *outage
	stop     context.CancelFunc // ends the lanes at once
	running  sync.WaitGroup     // the lanes
	rest     context.CancelFunc // ends the watching and mending
	resting  sync.WaitGroup     // watch and mend
	limits   map[string]Limits
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
	if cfg.StartTimeout <= 0 {
		cfg.StartTimeout = startTimeout
	}
	b := &Backbone{log: cfg.Log, patience: cfg.StartTimeout, fault: newFault(cfg.Log), outage: newOutage(), closed: make(chan struct{}), idle: map[string][]*Reader{},
		limits: cfg.Limits, refusing: refusals{why: map[string]string{}}}
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
	if cfg.Dir != "" {
		if b.server, err = startEmbedded(cfg, b.fault); err != nil {
			return err
		}
		connect = b.connectEmbedded
	}
	for name, l := range map[string]*link{"telltale-cloud write": &b.writer, "telltale-cloud read": &b.reader} {
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
	for subject, stream := range streams() {
		if err := b.makeStream(ctx, stream, subject, cfg.Limits[stream]); err != nil {
			return err
		}
	}
	if err := b.checkHoles(ctx); err != nil {
		return err
	}
	b.startLanes(cfg)
	return nil
}

// startLanes starts the group committer of each stream.
func (b *Backbone) startLanes(cfg Config) {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	b.fault.on(func(why error) {
		b.refuses("backbone", why.Error())
		b.outage.happened()
	}, cancel)
	b.lanes = make(map[string]*lane)
	for subject, stream := range streams() {
		l := newLane(stream, b)
		b.lanes[subject] = l
		b.running.Go(func() { l.run(ctx) })
	}
	beside, rest := context.WithCancel(ctx)
	b.rest = rest
	b.resting.Go(func() { b.watch(beside, cfg.watchEvery) })
	if b.server != nil {
		b.resting.Go(func() { b.mend(beside, cfg) })
	}
}

// makeStream makes the stream, or brings its limits up to date.
func (b *Backbone) makeStream(ctx context.Context, name, subject string, limits Limits) error {
	if limits.MaxBytes < 0 || limits.MaxAge < 0 {
		return fmt.Errorf("limits of stream %s: expected no negative number", name)
	}
	settings := func(c jetstream.StreamConfig) jetstream.StreamConfig {
		c.Name, c.Subjects = name, []string{subject + ".>"}
		c.Retention, c.Discard, c.Storage = jetstream.LimitsPolicy, jetstream.DiscardNew, jetstream.FileStorage
		c.MaxBytes, c.MaxAge, c.MaxMsgs, c.MaxConsumers = limits.MaxBytes, limits.MaxAge, -1, -1
		if c.MaxBytes == 0 {
			c.MaxBytes = -1
		}
		c.AllowAtomicPublish, c.AllowDirect = true, true
		return c
	}
	have, err := b.writer.js.Stream(ctx, name)
	switch {
	case err == nil:
		err = b.changeStream(ctx, have.CachedInfo().Config, settings) // with its replicas, which the operator of a cluster may have changed
	case errors.Is(err, jetstream.ErrStreamNotFound):
		_, err = b.writer.js.CreateStream(ctx, settings(jetstream.StreamConfig{Replicas: b.replicas}))
	}
	if err != nil {
		return fmt.Errorf("open stream %s: %w", name, err)
	}
	return nil
}

// changeStream gives a stream other settings, if they differ.
func (b *Backbone) changeStream(ctx context.Context, have jetstream.StreamConfig, settings func(jetstream.StreamConfig) jetstream.StreamConfig) error {
	want := settings(have)
	if reflect.DeepEqual(have, want) {
		return nil
	}
	if b.server != nil {
		if err := b.server.beginSettings(want.Name); err != nil {
			return durable.Bare(err)
		}
	}
	_, err := b.writer.js.UpdateStream(ctx, want)
	return err
}

// checkHoles warns of messages missing inside a stream. Nothing here deletes
// single messages, so a hole is damage of the block files that JetStream skipped.
func (b *Backbone) checkHoles(ctx context.Context) error {
	for _, stream := range streams() {
		info, err := b.info(ctx, stream)
		if err != nil {
			return err
		}
		if missing := info.Last + 1 - info.First; info.Messages > 0 && missing > info.Messages {
			b.log.Error("stream has lost messages: its files are damaged, restore them from a backup or another replica",
				"stream", stream, "missing", missing-info.Messages, "first", info.First, "last", info.Last)
		}
	}
	return nil
}

// StreamInfo is the extent of a stream.
type StreamInfo struct {
	First, Last uint64 // sequences; First is Last+1 when empty
	Messages    uint64
	Bytes       uint64 // with the overhead of storing
}

// Info asks for the extent of a stream.
func (b *Backbone) Info(ctx context.Context, stream string) (StreamInfo, error) {
	if err := b.usable(stream); err != nil {
		return StreamInfo{}, err
	}
	return b.info(ctx, stream)
}

func (b *Backbone) info(ctx context.Context, stream string) (StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.reader.js.Stream(ctx, stream)
	if err != nil {
		return StreamInfo{}, fmt.Errorf("ask for stream %s: %w", stream, b.orClosed(err))
	}
	state := s.CachedInfo().State
	info := StreamInfo{First: state.FirstSeq, Last: state.LastSeq, Messages: state.Msgs, Bytes: state.Bytes}
	if info.Messages == 0 {
		info.First = info.Last + 1
	}
	return info, nil
}

// usable wants a stream of ours and a backbone that is open.
func (b *Backbone) usable(stream string) error {
	select {
	case <-b.closed:
		return ErrClosed
	default:
	}
	for _, name := range streams() {
		if name == stream {
			return nil
		}
	}
	return fmt.Errorf("stream %q does not exist, expected %s, %s or %s: %w", stream, Up, Low, Dead, ErrInvalid)
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
	if err := b.publish(m, done); err != nil {
		b.stats.refuse(err)
		done(0, err)
	}
}

func (b *Backbone) publish(m Message, done func(uint64, error)) error {
	if err := b.fault.refusal(); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	first, _, _ := strings.Cut(m.Subject, ".")
	l := b.lanes[first]
	if l == nil || len(first) == len(m.Subject) {
		return fmt.Errorf("subject is of no stream, expected up.…, low.… or dead.…: %w", ErrInvalid)
	}
	msg, size := m.wire()
	return l.add(item{msg: msg, size: size, done: done, since: time.Now()})
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
	for _, l := range b.lanes {
		l.close()
	}
	if b.stop != nil {
		defer time.AfterFunc(closeTimeout, b.stop).Stop()
	}
	b.running.Wait()
	close(b.closed)
	b.closeIdle()
	for _, l := range []link{b.writer, b.reader} {
		if l.conn != nil {
			l.conn.Close()
		}
	}
	if b.stop != nil {
		b.stop()
	}
	if b.server != nil {
		b.server.stop()
	}
}
