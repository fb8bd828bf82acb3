package backbone

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of an atomic batch: all messages of a batch carry the id and their
// number from 1; the last one commits and is the only one answered with a
// sequence (nats-server, ADR-50).
const (
	batchIDHeader  = "Nats-Batch-Id"
	batchSeqHeader = "Nats-Batch-Sequence"
	commitHeader   = "Nats-Batch-Commit"
	batchHeaders   = 3
)

// batchPrefix makes batch ids of different committers and starts differ: a batch that a killed process left behind is
// still known to the server.
func batchPrefix() string { return rand.Text()[:8] }

// commit stores batch, in order, and tells every publisher.
func (l *committer) commit(ctx context.Context, batch []item) {
	size := 0
	for i := range batch {
		size += batch[i].size
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	l.owner.outage.watch(ctx, cancel) // before the question, so that a failure after it is noticed
	err := l.owner.fault.refusal()
	if err == nil && l.Storage == OnDisk {
		err = l.owner.allow(size, l.share())
	}
	if err != nil {
		l.finishAll(batch, err)
		return
	}
	if !l.link().conn.IsConnected() {
		l.finishAll(batch, errNoConnection)
		return
	}
	if l.grouped {
		l.tooLarge = 0
		l.commitGroup(ctx, batch)
		return
	}
	if batch[0].expects != nil {
		l.commitSingly(ctx, batch)
		return
	}
	start := time.Now()
	if len(batch) < l.costs.breakEven() {
		l.commitSingly(ctx, batch)
		l.costs.learnSingle(len(batch), time.Since(start))
		return
	}
	last, err := l.commitAtomic(ctx, batch)
	switch {
	case err == nil:
		l.costs.learnAtomic(time.Since(start))
		l.owner.stats.batches.Add(1)
		first := last + 1 - uint64(len(batch))
		for i := range batch {
			l.finish(&batch[i], first+uint64(i), nil)
		}
	case unknown(err):
		l.finishAll(batch, err)
	default: // refused as a whole and nothing stored: find out which message it was
		l.owner.stats.fallbacks.Add(1)
		for i := range batch {
			clearBatch(batch[i].msg)
		}
		l.commitSingly(ctx, batch)
	}
}

// commitAtomic gives the sequence of the last message.
func (l *committer) commitAtomic(ctx context.Context, batch []item) (uint64, error) {
	l.number++
	id := []string{l.prefix + strconv.FormatUint(l.number, 36)}
	for i := range batch {
		h := batch[i].msg.Header
		h[batchIDHeader] = id
		h[batchSeqHeader] = []string{strconv.Itoa(i + 1)}
	}
	end := len(batch) - 1
	for i := range batch[:end] {
		if err := l.link().conn.PublishMsg(batch[i].msg); err != nil {
			return 0, l.owner.classify(ctx, err)
		}
	}
	batch[end].msg.Header[commitHeader] = []string{"1"}
	ack, err := l.link().js.PublishMsg(ctx, batch[end].msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, l.owner.classify(ctx, err)
	}
	if ack.Sequence < uint64(len(batch)) {
		return 0, fmt.Errorf("server acknowledged sequence %d for %d messages: %w", ack.Sequence, len(batch), ErrUnknown)
	}
	return ack.Sequence, nil
}

func clearBatch(m *nats.Msg) {
	delete(m.Header, batchIDHeader)
	delete(m.Header, batchSeqHeader)
	delete(m.Header, commitHeader)
}

// commitSingly publishes one after the other without waiting in between, and
// then waits for each answer: each is stored or refused on its own.
func (l *committer) commitSingly(ctx context.Context, batch []item) {
	answers := make([]jetstream.PubAckFuture, len(batch))
	sent := make([]error, len(batch))
	for i := range batch {
		answers[i], sent[i] = l.link().js.PublishMsgAsync(batch[i].msg, jetstream.WithRetryAttempts(0))
	}
	for i := range batch {
		seq, err := uint64(0), sent[i]
		if err == nil {
			seq, err = await(ctx, answers[i])
		}
		if conflict := l.owner.conflict(ctx, l, &batch[i], err); conflict != nil {
			err = conflict
		} else if err != nil {
			err = l.owner.classify(ctx, err)
		} else {
			l.owner.stats.singles.Add(1)
		}
		l.finish(&batch[i], seq, err)
	}
}

func await(ctx context.Context, answer jetstream.PubAckFuture) (uint64, error) {
	select {
	case ack := <-answer.Ok():
		return ack.Sequence, nil
	case err := <-answer.Err():
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Codes of JetStream's errors that mean no space (nats-server, errors.json).
const (
	codeAccountFull = 10002 // resource limits exceeded for account
	codeServerFull  = 10023 // insufficient resources
	codeStorageFull = 10047 // insufficient storage resources available
	codeTooLarge    = 10054 // message size exceeds maximum allowed
	codeStore       = 10077 // a limit of the stream, or a write error: the text tells
	codeHeader      = 10097 // header size exceeds maximum
	codeTooMany     = 10167 // too many requests
	codeInflight    = 10210 // too many batches in flight
)

// errNoConnection: nothing was sent, or nobody took it.
var errNoConnection = fmt.Errorf("%w: no connection to the stream", ErrBusy)

// classify wraps err of a publish in one of our errors.
func (b *Backbone) classify(ctx context.Context, err error) error {
	if failed := b.fault.err(); failed != nil {
		return failed
	}
	if refused := (*jetstream.APIError)(nil); errors.As(err, &refused) {
		return b.classifyRefusal(refused)
	}
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: the server takes at most %d bytes", ErrTooLarge, b.writer.conn.MaxPayload())
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return errNoConnection
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%w: the connection was lost, or closing took too long", ErrUnknown)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: no answer within %v", ErrUnknown, commitTimeout)
	}
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

func (b *Backbone) classifyRefusal(refused *jetstream.APIError) error {
	switch refused.ErrorCode {
	case codeAccountFull, codeServerFull, codeStorageFull:
		return fmt.Errorf("%w: %s", ErrFull, refused.Description)
	case codeTooLarge, codeHeader:
		return fmt.Errorf("%w: %s", ErrTooLarge, refused.Description)
	case codeTooMany, codeInflight:
		return fmt.Errorf("%w: %s", ErrBusy, refused.Description)
	case codeStore:
		return b.classifyStore(refused.Description)
	}
	return fmt.Errorf("%w: %s", ErrRefused, refused.Description)
}

// errStreamFull: the stream has reached its own limit.
var errStreamFull = fmt.Errorf("%w: the stream has reached its limit", ErrFull)

// classifyStore tells a limit from a failed write by the server's text.
func (b *Backbone) classifyStore(said string) error {
	switch {
	case strings.HasPrefix(said, "maximum "): // maximum bytes exceeded
		return fmt.Errorf("%w: %s", errStreamFull, said)
	case strings.HasPrefix(said, "message too large"):
		return fmt.Errorf("%w: %s", ErrTooLarge, said)
	case b.server == nil: // another server of the cluster takes over
		return fmt.Errorf("%w: %s", ErrUnknown, redact(said))
	}
	b.fault.report(said)
	if err := b.fault.err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrUnknown, redact(said))
}

// allow asks the space guard of the embedded server.
func (b *Backbone) allow(n int, share int64) error {
	if b.server == nil {
		return nil
	}
	err := b.server.space.allow(n, share)
	if err != nil {
		b.refuses("disk", strings.TrimPrefix(err.Error(), ErrFull.Error()+": "))
	}
	return err
}
