package backbone

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ConflictError says that the newest message of a subject is another one than was expected. It wraps ErrConflict.
type ConflictError struct {
	Expected, Found uint64 // sequences in the stream; zero: the subject has no message
}

// Error says both sequences.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("newest message of the subject is %d, expected %d: %v", e.Found, e.Expected, ErrConflict)
}

// Unwrap gives ErrConflict.
func (e *ConflictError) Unwrap() error { return ErrConflict }

// PublishExpecting is Publish on the condition that the newest message of m's subject is the one with
// sequence last, or that there is none when last is zero. Else done gets a *ConflictError, and nothing was stored.
// Of several publishers that expect the same, one wins.
//
// A message that Limits or Trim has deleted is none. After ErrUnknown the message may be stored: whoever publishes it
// again gets a ConflictError then, and Last tells whose message it is.
//
// Each of them costs a sync of its own, since one that is refused would refuse a whole batch: some
// thousands a second, where Publish stores ten times as many.
func (b *Backbone) PublishExpecting(m Message, last uint64, done func(seq uint64, err error)) {
	if err := b.publish(m, done, &last); err != nil {
		b.stats.refuse(err)
		done(0, err)
	}
}

// Last gives the newest message of a subject in its stream, or ErrNotFound.
// On a cluster that of Up, Low and Dead may come from a replica that lags a moment; PublishExpecting ends in a ConflictError then.
func (b *Backbone) Last(ctx context.Context, subject string) (Message, error) {
	if err := b.alive(); err != nil {
		return Message{}, err
	}
	if err := checkSubject(subject); err != nil {
		return Message{}, err
	}
	declared := b.declared.Load()
	l := declared.of(subject)
	if l == nil {
		return Message{}, noStream(declared)
	}
	if l.grouped {
		return Message{}, errGrouped(l)
	}
	return b.last(ctx, l.Name, subject)
}

func (b *Backbone) last(ctx context.Context, stream, subject string) (Message, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.reader.js.Stream(ctx, stream)
	if err != nil {
		return Message{}, fmt.Errorf("ask for stream %s: %w", stream, b.orClosed(err))
	}
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Message{}, ErrNotFound
	}
	if err != nil {
		return Message{}, fmt.Errorf("ask for the newest message of stream %s: %w", stream, b.orClosed(err))
	}
	return Message{Subject: m.Subject, Header: plainHeader(m.Header), Data: m.Data, Sequence: m.Sequence, Stored: m.Time}, nil
}

// Codes of JetStream's errors that mean another sequence than was expected (nats-server, errors.json).
const (
	codeWrongSequence        = 10071 // the text ends with the sequence found
	codeWrongSequenceUnknown = 10164 // another message of the subject is on its way
)

// conflict turns the server's refusal of a conditional publish into a *ConflictError; nil: it is none.
func (b *Backbone) conflict(ctx context.Context, l *committer, it *item, err error) error {
	var refused *jetstream.APIError
	if it.expects == nil || !errors.As(err, &refused) {
		return nil
	}
	switch refused.ErrorCode {
	case codeWrongSequence:
		_, text, _ := strings.Cut(refused.Description, ": ")
		if found, err := strconv.ParseUint(text, 10, 64); err == nil {
			return &ConflictError{Expected: *it.expects, Found: found}
		}
	case codeWrongSequenceUnknown:
	default:
		return nil
	}
	m, err := b.last(ctx, l.Name, it.msg.Subject)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w; which message is there could not be asked: %w", ErrConflict, err)
	}
	return &ConflictError{Expected: *it.expects, Found: m.Sequence}
}

// expect makes a message conditional.
func expect(m *nats.Msg, last uint64) {
	m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(last, 10)}
}
