package backbone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Reader reads one stream in order, ahead of its user by a bounded number of
// messages. One goroutine at a time may call Next.
type Reader struct {
	owner    *Backbone
	stream   string
	name     string // of the consumer at the server
	grouped  bool
	source   jetstream.MessagesContext
	messages chan []Message
	rest     []Message // of the group of which Next gave a part; owned by the caller of Next
	quit     chan struct{}
	done     chan struct{} // closed when pump has returned
	reason   error         // why pump returned; read after done
	next     uint64        // lowest sequence Next may still give; owned by the caller of Next
	records  bool          // pump has seen one
	stopping sync.Once
}

// Reader opens a reader whose first message is the one with sequence from, or the
// oldest one after it. Zero means the oldest. Close it. A ctx that ends afterwards does not end the reader.
func (b *Backbone) Reader(ctx context.Context, stream string, from uint64) (*Reader, error) {
	return b.openReader(ctx, stream, from, readAheadBytes)
}

// openReader opens one that asks for so many bytes ahead.
func (b *Backbone) openReader(ctx context.Context, stream string, from uint64, bytes int) (*Reader, error) {
	if err := b.usable(stream); err != nil {
		return nil, err
	}
	from = max(from, 1)
	l := b.declared.Load().names[stream]
	source, name, err := b.consume(ctx, l, from, bytes)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", stream, b.orClosed(err))
	}
	room := readerMessages
	if l.grouped {
		room = readerGroups
	}
	r := &Reader{owner: b, stream: stream, name: name, grouped: l.grouped, source: source, next: from,
		messages: make(chan []Message, room), quit: make(chan struct{}), done: make(chan struct{})}
	go r.pump(from)
	return r, nil
}

func (b *Backbone) consume(ctx context.Context, l *committer, from uint64, bytes int) (jetstream.MessagesContext, string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if l.grouped {
		g, err := b.openGrouped(ctx, l)
		if err == nil {
			from, err = g.find(ctx, from)
		}
		if err != nil {
			return nil, "", err
		}
	}
	consumer, err := b.reader.js.OrderedConsumer(ctx, l.Name, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
	})
	if err != nil {
		return nil, "", err
	}
	source, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(readAheadMessages, bytes))
	return source, consumer.CachedInfo().Name, err
}

// pump moves messages with sequences from from on from the server to Next until Close, or the connection closes.
func (r *Reader) pump(from uint64) {
	defer close(r.done)
	defer close(r.messages)
	for {
		msg, err := r.source.Next()
		if err != nil {
			r.reason = err
			return
		}
		got, err := r.unpack(msg, from)
		if err != nil {
			r.reason = err
			return
		}
		if len(got) == 0 {
			continue
		}
		from = got[len(got)-1].Sequence + 1
		select {
		case r.messages <- got:
		case <-r.quit:
			r.reason = ErrClosed
			return
		}
	}
}

// unpack gives the messages of what the server handed over, from a sequence on.
func (r *Reader) unpack(msg jetstream.Msg, from uint64) ([]Message, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	single := Message{Subject: msg.Subject(), Data: msg.Data(), Sequence: meta.Sequence.Stream, Stored: meta.Timestamp}
	if !r.grouped || len(msg.Headers()[sequencesHeader]) == 0 {
		if r.records {
			r.owner.passOver(r.stream, single.Sequence)
			return nil, nil
		}
		if single.Sequence < from { // it was read before
			return nil, nil
		}
		single.Header = plainHeader(msg.Headers())
		return []Message{single}, nil
	}
	r.records = true
	where, err := recordOf(single.Sequence, msg.Headers())
	if err != nil || where.last < from {
		return nil, err
	}
	got, err := readGroup(where, single.Data, from)
	for i := range got {
		got[i].Stored = single.Stored
	}
	return got, err
}

// passOver counts a message of a grouped stream that is none of ours, and says so once.
func (b *Backbone) passOver(stream string, number uint64) {
	b.stats.foreign.Add(1)
	if l := b.declared.Load().names[stream]; l.foreignSaid.CompareAndSwap(false, true) {
		b.log.Error("somebody else stores messages in a stream that only the cloud may store in; they are passed over", "stream", stream, "number", number)
	}
}

// Next gives at most limit messages in order: those at hand, or else the first
// ones that come within wait. None and no error means that none came. Messages
// belong to the caller. Sequences rise; a gap means that messages had been
// deleted for their age. The error wraps ErrClosed after Close, or is ctx's.
func (r *Reader) Next(ctx context.Context, limit int, wait time.Duration) ([]Message, error) {
	if limit <= 0 {
		return nil, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	if len(r.rest) == 0 {
		select {
		case more, ok := <-r.messages:
			if !ok {
				return nil, r.ended()
			}
			r.rest = more
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	got := make([]Message, 0, min(limit, len(r.rest)))
	for size := 0; len(got) < limit && size < readAheadBytes; {
		if len(r.rest) == 0 {
			select {
			case r.rest = <-r.messages: // nil when it is closed, which the next call tells
			default:
			}
		}
		if len(r.rest) == 0 {
			break
		}
		got = append(got, r.rest[0])
		size += len(r.rest[0].Data)
		r.rest = r.rest[1:]
	}
	return r.advance(got), nil
}

func (r *Reader) advance(got []Message) []Message {
	r.next = got[len(got)-1].Sequence + 1
	return got
}

func (r *Reader) ended() error {
	<-r.done
	if errors.Is(r.reason, jetstream.ErrMsgIteratorClosed) || errors.Is(r.reason, nats.ErrConnectionClosed) {
		return ErrClosed
	}
	return fmt.Errorf("read stream %s: %w", r.stream, r.owner.orClosed(r.reason))
}

// Close ends the reader and waits for its goroutine. Closing twice is harmless.
func (r *Reader) Close() {
	r.stopping.Do(func() {
		close(r.quit)
		r.source.Stop()
		<-r.done
		r.forget()
	})
}

// forget frees the consumer at the server, which would go by itself after some minutes. An embedded server that is
// about to end is not asked: it would be waited for with each reader.
func (r *Reader) forget() {
	if r.owner.reader.conn.IsClosed() || r.owner.server != nil && r.owner.alive() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	_ = r.owner.reader.js.DeleteConsumer(ctx, r.stream, r.name) // gone already is fine
}

// Read gives at most limit messages from sequence from on, like Reader.Next. Reading
// on where a Read stopped costs no new reader: a few are kept open for that.
func (b *Backbone) Read(ctx context.Context, stream string, from uint64, limit int, wait time.Duration) ([]Message, error) {
	r, err := b.takeIdle(stream, max(from, 1))
	if err != nil {
		return nil, err
	}
	if r == nil {
		bytes := readAheadBytes
		if b.declared.Load().names[stream].grouped {
			bytes = lookBytes
		}
		if r, err = b.openReader(ctx, stream, from, bytes); err != nil {
			return nil, err
		}
	}
	got, err := r.Next(ctx, limit, wait)
	if err != nil && !errors.Is(err, ctx.Err()) {
		r.Close()
		return nil, err
	}
	b.putIdle(r)
	return got, err
}

// takeIdle gives an idle reader that stands at next, or nil.
func (b *Backbone) takeIdle(stream string, next uint64) (*Reader, error) {
	if err := b.usable(stream); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range b.idle[stream] {
		if r.next == next {
			b.idle[stream] = append(b.idle[stream][:i:i], b.idle[stream][i+1:]...)
			return r, nil
		}
	}
	return nil, nil
}

// putIdle keeps r for the next Read and closes the one kept longest beyond the limit.
func (b *Backbone) putIdle(r *Reader) {
	b.mu.Lock()
	kept := append(b.idle[r.stream], r)
	var oldest *Reader
	if len(kept) > idleReaders {
		oldest, kept = kept[0], kept[1:]
	}
	b.idle[r.stream] = kept
	b.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
	if b.usable(r.stream) != nil { // closed in between
		b.closeIdle()
	}
}

func (b *Backbone) closeIdle() {
	b.mu.Lock()
	idle := b.idle
	b.idle = map[string][]*Reader{}
	b.mu.Unlock()
	for _, readers := range idle {
		for _, r := range readers {
			r.Close()
		}
	}
}
