package backbone

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"telltale.dev/hal/durable"
)

// The streams that every backbone has. A message's subject decides which one stores it.
const (
	Up   = "UP"   // up.{stamp}.{vid}.{kind}: urgent data of vehicles
	Low  = "LOW"  // low.{part}.{vid}.{kind}: bulk data of vehicles
	Dead = "DEAD" // dead.{stream}.{reason}: what could not be processed
)

// Stream declares a stream: Open and Declare make it when it is missing, and change it when it is declared otherwise.
// A stream that is no longer declared stays as it is, with its messages.
type Stream struct {
	// Name is 1 to 32 letters, digits, - and _.
	Name string
	// Prefixes begin the subjects of the stream, which have at least one part more: "cmd.state" takes cmd.state.car7.
	// No stream takes a prefix that begins another one.
	Prefixes []string
	Limits   Limits
	Discard  Discard
	Storage  Storage
	// Deletes says that single messages are deleted from the stream. Of any other one, unless Limits.PerSubject does the
	// same, a message that is missing inside is damage, and Open says so.
	Deletes bool
	// vital streams may use half of the reserve of free space, as buckets do.
	vital bool
	// grouped streams keep what one commit brings as one record, see group.go: they have no PublishExpecting, Last and Delete.
	grouped bool
	// direct streams let every replica of a cluster answer Last and Delete, not the leader alone.
	direct bool
}

// Limits of a stream. Zero fields mean no limit but the disk's.
type Limits struct {
	MaxBytes   int64         // of all messages with their overhead; Discard says what happens then
	MaxAge     time.Duration // after which a message is deleted, read or not
	PerSubject int64         // how many messages of one subject are kept: the newest ones
}

// Discard says what a stream does at Limits.MaxBytes.
type Discard uint8

// The policies at MaxBytes.
const (
	RefuseNew Discard = iota // a new message is refused with ErrFull; nothing is deleted for it
	DeleteOld                // the oldest messages are deleted, read or not
)

// Storage says where a stream is kept. It cannot be changed.
type Storage uint8

// The places of a stream.
const (
	OnDisk   Storage = iota // acknowledged means written and synced
	InMemory                // acknowledged means nothing: all is gone when the server ends, and sequences begin at 1 again
)

// standing declares the streams that every backbone has.
func standing(limits map[string]Limits) []Stream {
	return []Stream{
		{Name: Up, Prefixes: []string{"up"}, Limits: limits[Up], grouped: true, direct: true},
		{Name: Low, Prefixes: []string{"low"}, Limits: limits[Low], grouped: true, direct: true},
		{Name: Dead, Prefixes: []string{"dead"}, Limits: limits[Dead], Deletes: true, direct: true},
	}
}

// maxStreamName is the longest name of a stream or of a kind of timers, in bytes.
const maxStreamName = 32

// check says what is wrong with a declaration.
func (s *Stream) check() error {
	switch {
	case !validName(s.Name):
		return fmt.Errorf("stream name %q: expected 1 to %d letters, digits, - and _: %w", s.Name, maxStreamName, ErrInvalid)
	case strings.HasPrefix(s.Name, "KV_"):
		return fmt.Errorf("stream %s: names that begin with KV_ are those of buckets: %w", s.Name, ErrInvalid)
	case s.Limits.MaxBytes < 0, s.Limits.MaxAge < 0, s.Limits.PerSubject < 0:
		return fmt.Errorf("limits of stream %s: expected no negative number: %w", s.Name, ErrInvalid)
	case s.grouped && (s.Limits.PerSubject > 0 || s.Discard == DeleteOld):
		return fmt.Errorf("stream %s: expected no bound at which messages are deleted unread: %w", s.Name, ErrInvalid)
	case s.Discard > DeleteOld, s.Storage > InMemory:
		return fmt.Errorf("stream %s: unknown policy or storage: %w", s.Name, ErrInvalid)
	case len(s.Prefixes) == 0:
		return fmt.Errorf("stream %s: expected at least one prefix of subjects: %w", s.Name, ErrInvalid)
	}
	for _, prefix := range s.Prefixes {
		if err := checkSubject(prefix); err != nil {
			return fmt.Errorf("prefix of stream %s: %w", s.Name, err)
		}
		if strings.HasPrefix(prefix, "$") || strings.HasPrefix(prefix, "_") {
			return fmt.Errorf("prefix of stream %s: subjects that begin with $ or _ are the server's own: %w", s.Name, ErrInvalid)
		}
	}
	return nil
}

func validName(name string) bool {
	return name != "" && len(name) <= maxStreamName && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// apply writes the declaration into JetStream's settings, whose other fields stay as they are.
func (s *Stream) apply(c jetstream.StreamConfig) jetstream.StreamConfig {
	c.Name, c.Subjects = s.Name, nil
	for _, prefix := range s.Prefixes {
		c.Subjects = append(c.Subjects, prefix+".>")
	}
	c.Retention, c.Discard, c.Storage = jetstream.LimitsPolicy, jetstream.DiscardNew, jetstream.FileStorage
	if s.Discard == DeleteOld {
		c.Discard = jetstream.DiscardOld
	}
	if s.Storage == InMemory {
		c.Storage = jetstream.MemoryStorage
	}
	c.MaxBytes, c.MaxAge, c.MaxMsgsPerSubject, c.MaxMsgs, c.MaxConsumers = s.Limits.MaxBytes, s.Limits.MaxAge, s.Limits.PerSubject, -1, -1
	if c.MaxBytes == 0 {
		c.MaxBytes = -1
	}
	if c.MaxMsgsPerSubject == 0 {
		c.MaxMsgsPerSubject = -1
	}
	c.AllowAtomicPublish, c.AllowDirect = true, s.direct
	return c
}

// holes says whether messages may be missing inside the stream.
func (s *Stream) holes() bool { return s.Deletes || s.Limits.PerSubject > 0 }

// table is what publishers and readers find a stream by. It is never changed, only replaced.
type table struct {
	names    map[string]*committer
	prefixes map[string]*committer
}

// with gives a table that has l, too, or says what it collides with.
func (t *table) with(l *committer) (*table, error) {
	if t.names[l.Name] != nil {
		return nil, fmt.Errorf("stream %s is declared twice: %w", l.Name, ErrInvalid)
	}
	next := &table{names: map[string]*committer{l.Name: l}, prefixes: map[string]*committer{}}
	for name, other := range t.names {
		next.names[name] = other
	}
	for prefix, other := range t.prefixes {
		next.prefixes[prefix] = other
	}
	for _, prefix := range l.Prefixes {
		for taken, other := range next.prefixes {
			if strings.HasPrefix(prefix+".", taken+".") || strings.HasPrefix(taken+".", prefix+".") {
				return nil, fmt.Errorf("stream %s: stream %s has subjects that begin with %s: %w", l.Name, other.Name, taken, ErrInvalid)
			}
		}
		next.prefixes[prefix] = l
	}
	return next, nil
}

// of gives the stream of a subject, or nil.
func (t *table) of(subject string) *committer {
	for i := range len(subject) {
		if subject[i] == '.' {
			if l := t.prefixes[subject[:i]]; l != nil {
				return l
			}
		}
	}
	return nil
}

// expected lists what is declared, for errors.
func expected(names map[string]*committer) string {
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// Declare opens further streams. It may be called at any time, for a stream once in the life of a Backbone.
func (b *Backbone) Declare(ctx context.Context, streams ...Stream) error {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	b.declaring.Lock()
	defer b.declaring.Unlock()
	if b.ended {
		return ErrClosed
	}
	for _, s := range streams {
		if err := b.declare(ctx, s); err != nil {
			return b.orClosed(err)
		}
	}
	return nil
}

// declare opens a stream and starts its committer; the caller holds declaring.
func (b *Backbone) declare(ctx context.Context, s Stream) error {
	if err := s.check(); err != nil {
		return err
	}
	s.Prefixes = slices.Clone(s.Prefixes)
	l := newCommitter(s, b)
	next, err := b.declared.Load().with(l)
	if err != nil {
		return err
	}
	if err := b.makeStream(ctx, &s); err != nil {
		return err
	}
	if err := b.checkHoles(ctx, &s); err != nil {
		return err
	}
	b.declared.Store(next)
	b.runCommitter(l)
	return nil
}

// makeStream makes the stream, or brings its settings up to date.
func (b *Backbone) makeStream(ctx context.Context, s *Stream) error {
	have, err := b.writer.js.Stream(ctx, s.Name)
	switch {
	case err == nil:
		err = b.changeStream(ctx, have.CachedInfo().Config, s) // with its replicas, which the operator of a cluster may have changed
	case errors.Is(err, jetstream.ErrStreamNotFound):
		_, err = b.writer.js.CreateStream(ctx, s.apply(jetstream.StreamConfig{Replicas: b.replicas}))
	}
	if err != nil {
		return fmt.Errorf("open stream %s: %w", s.Name, err)
	}
	return nil
}

// changeStream gives a stream other settings, if they differ.
func (b *Backbone) changeStream(ctx context.Context, have jetstream.StreamConfig, s *Stream) error {
	want := s.apply(have)
	if reflect.DeepEqual(have, want) {
		return nil
	}
	if have.Storage != want.Storage {
		return fmt.Errorf("its storage is %v and cannot become %v: %w", have.Storage, want.Storage, ErrInvalid)
	}
	if b.server != nil {
		if err := b.server.beginSettings(want.Name); err != nil {
			return durable.Bare(err)
		}
	}
	_, err := b.writer.js.UpdateStream(ctx, want)
	return err
}

// checkHoles warns of messages missing inside a stream from which none are deleted
// singly: a hole is damage of the block files then, which JetStream skipped.
func (b *Backbone) checkHoles(ctx context.Context, s *Stream) error {
	if s.holes() {
		return nil
	}
	stream, err := b.reader.js.Stream(ctx, s.Name)
	if err != nil {
		return fmt.Errorf("ask for stream %s: %w", s.Name, b.orClosed(err))
	}
	state := stream.CachedInfo().State // of a grouped stream of its records
	if missing := state.LastSeq + 1 - state.FirstSeq; state.Msgs > 0 && missing > state.Msgs {
		b.log.Error("stream has lost messages: its files are damaged, restore them from a backup or another replica",
			"stream", s.Name, "missing", missing-state.Msgs, "first", state.FirstSeq, "last", state.LastSeq)
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
	if l := b.declared.Load().names[stream]; l != nil && l.grouped {
		return b.infoOfGroups(ctx, l)
	}
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

// infoOfGroups is info of a grouped stream.
func (b *Backbone) infoOfGroups(ctx context.Context, l *committer) (StreamInfo, error) {
	g, err := b.openGrouped(ctx, l)
	if err != nil {
		return StreamInfo{}, fmt.Errorf("ask for stream %s: %w", l.Name, b.orClosed(err))
	}
	first, last, err := g.extent(ctx)
	if err != nil {
		return StreamInfo{}, fmt.Errorf("ask for the extent of stream %s: %w", l.Name, b.orClosed(err))
	}
	return StreamInfo{First: first, Last: last, Messages: last + 1 - first, Bytes: g.state.Bytes}, nil
}

// alive is ErrClosed once the backbone is closed.
func (b *Backbone) alive() error {
	select {
	case <-b.closed:
		return ErrClosed
	default:
		return nil
	}
}

// usable wants a declared stream and a backbone that is open.
func (b *Backbone) usable(stream string) error {
	if err := b.alive(); err != nil {
		return err
	}
	names := b.declared.Load().names
	if names[stream] == nil {
		return fmt.Errorf("stream %q is not declared, expected one of %s: %w", stream, expected(names), ErrInvalid)
	}
	return nil
}
