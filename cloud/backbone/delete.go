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
