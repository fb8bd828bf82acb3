package backbone

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// trimShare divides a stream's MaxBytes: Trim leaves one half of it to messages that nobody needs any more.
const trimShare = 2

// Trim deletes messages of a stream, the oldest first and none after through, when
// the stream has more than half of its MaxBytes or the disk is short: so many that
// neither is so any more, as far as that can be. The last one up to through always
// stays. It gives how many were deleted. While storing has stopped, or next to nothing of the disk is
// free, it deletes none.
func (b *Backbone) Trim(ctx context.Context, stream string, through uint64) (deleted uint64, err error) {
	if err := b.usable(stream); err != nil {
		return 0, err
	}
	if err := b.mayTrim(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.reader.js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("ask for stream %s: %w", stream, b.orClosed(err))
	}
	state := s.CachedInfo().State
	excess, err := b.excess(state.Bytes, s.CachedInfo().Config.MaxBytes)
	if err != nil || excess <= 0 || state.Msgs == 0 {
		return 0, err
	}
	share := min(1, float64(excess)/float64(state.Bytes))
	first := state.FirstSeq + uint64(share*float64(state.Msgs)) + 1
	purge := func(first uint64) error {
		return s.Purge(ctx, jetstream.WithPurgeSequence(first))
	}
	if l := b.declared.Load().names[stream]; l.grouped {
		deleted, err = l.groupedAt(s, state).trim(ctx, first, through, purge)
	} else if first = min(first, through); first > state.FirstSeq {
		deleted, err = first-state.FirstSeq, purge(first)
	}
	if err != nil {
		return 0, fmt.Errorf("trim stream %s: %w", stream, b.orClosed(err))
	}
	return deleted, nil
}

// trim deletes the records before the one with the number first, but for that with the message through, and gives how many
// messages these were.
func (g *grouped) trim(ctx context.Context, first, through uint64, purge func(first uint64) error) (uint64, error) {
	kept, err := g.find(ctx, through)
	if err != nil {
		return 0, err
	}
	if first = min(first, kept); first <= g.state.FirstSeq {
		return 0, nil
	}
	before, err := g.record(ctx, g.state.FirstSeq)
	if err != nil {
		return 0, err
	}
	after, err := g.record(ctx, first)
	if err != nil {
		return 0, err
	}
	return after.first - before.first, purge(first)
}

// leastPart divides the reserve of free space: Trim needs one eighth of it to be free, or openFree if that is less.
const leastPart = 8

// mayTrim refuses with ErrFull when nothing must be purged from a stream: that writes marks of what it deleted, and when these do not
// get to disk the embedded server waits for itself for ever (nats-server 2.15, fileStore.compactLocked, which calls
// rebuildState below its own lock), and with it all that has to do with the stream.
func (b *Backbone) mayTrim() error {
	if b.server == nil {
		return nil
	}
	if err := b.fault.refusal(); err != nil {
		return err
	}
	s := b.server.space
	free, err := s.free(s.path)
	if err != nil {
		return fmt.Errorf("%w: ask for free disk space: %w", ErrFull, err)
	}
	if least := min(openFree, s.reserve/leastPart); free < least {
		return fmt.Errorf("%w: %s", ErrFull, lowDisk(free, least))
	}
	return nil
}

// pressedPart is the part of a stream's MaxBytes, and of the disk's reserve, that is left when a stream is pressed for room: a quarter.
const pressedPart = 4

// Pressed says whether a stream will soon refuse messages: a quarter of its MaxBytes is left, or
// the disk has a quarter more than the reserve.
func (b *Backbone) Pressed(ctx context.Context, stream string) (bool, error) {
	if err := b.usable(stream); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.reader.js.Stream(ctx, stream)
	if err != nil {
		return false, fmt.Errorf("ask for stream %s: %w", stream, b.orClosed(err))
	}
	if limit := s.CachedInfo().Config.MaxBytes; limit > 0 && int64(s.CachedInfo().State.Bytes) > limit-limit/pressedPart {
		return true, nil
	}
	short, err := b.excess(0, 0)
	reserve := int64(0)
	if b.server != nil {
		reserve = b.server.space.reserve
	}
	return reserve > 0 && short > reserve-reserve/pressedPart, err
}

// excess is by how many bytes a stream should become smaller.
func (b *Backbone) excess(size uint64, limit int64) (excess int64, err error) {
	if limit > 0 {
		excess = int64(size) - limit/trimShare
	}
	if b.server != nil && b.server.space.reserve > 0 {
		free, err := b.server.space.free(b.server.space.path)
		if err != nil {
			return 0, fmt.Errorf("ask for free disk space: %w", err)
		}
		// Before the guard refuses, which is at the reserve.
		excess = max(excess, 2*b.server.space.reserve-free)
	}
	return excess, nil
}
