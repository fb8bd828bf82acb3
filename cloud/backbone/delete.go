package backbone

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Delete takes one message out of a stream, and says whether it was there. Its sequence is not used again.
func (b *Backbone) Delete(ctx context.Context, stream string, sequence uint64) (bool, error) {
	if err := b.usable(stream); err != nil {
		return false, err
	}
	if l := b.declared.Load().names[stream]; l.grouped {
		return false, errGrouped(l)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.reader.js.Stream(ctx, stream)
	if err != nil {
		return false, fmt.Errorf("ask for stream %s: %w", stream, b.orClosed(err))
	}
	if _, err := s.GetMsg(ctx, sequence); errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("ask for message %d of stream %s: %w", sequence, stream, b.orClosed(err))
	}
	if err := s.DeleteMsg(ctx, sequence); err != nil {
		return false, fmt.Errorf("delete message %d of stream %s: %w", sequence, stream, b.orClosed(err))
	}
	return true, nil
}

// Next gives the sequence of the first message of a stream from a sequence on, 0 when there is none.
func (b *Backbone) Next(ctx context.Context, stream string, from uint64) (uint64, error) {
	if err := b.usable(stream); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if l := b.declared.Load().names[stream]; l.grouped {
		g, err := b.openGrouped(ctx, l)
		if err == nil {
			from, err = g.next(ctx, from)
		}
		if err != nil {
			return 0, fmt.Errorf("ask for a message of stream %s: %w", stream, b.orClosed(err))
		}
		return from, nil
	}
	s, err := b.reader.js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("ask for stream %s: %w", stream, b.orClosed(err))
	}
	m, err := s.GetMsg(ctx, max(1, from), jetstream.WithGetMsgSubject(">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ask for a message of stream %s: %w", stream, b.orClosed(err))
	}
	return m.Sequence, nil
}
