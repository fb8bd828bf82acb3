package backbone

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// commitGroup stores batch as one record and tells every publisher. What is refused as a whole is
// halved until it is known which messages are refused.
func (l *committer) commitGroup(ctx context.Context, batch []item) {
	if batch = l.withRoom(batch); len(batch) == 0 {
		return
	}
	last, err := l.storeGroup(ctx, batch)
	switch {
	case err == nil:
		if len(batch) > 1 {
			l.owner.stats.batches.Add(1)
		} else {
			l.owner.stats.singles.Add(1)
		}
		first := last + 1 - uint64(len(batch))
		for i := range batch {
			l.finish(&batch[i], first+uint64(i), nil)
		}
	case len(batch) == 1, unknown(err), errors.Is(err, ErrBusy):
		if errors.Is(err, errStreamFull) {
			l.tooLarge = batch[0].size
		}
		l.finishAll(batch, err)
	default:
		l.owner.stats.fallbacks.Add(1)
		l.commitGroup(ctx, batch[:len(batch)/2])
		l.commitGroup(ctx, batch[len(batch)/2:])
	}
}

// withRoom refuses what is as large as a message for which the stream has no room, and gives the others: the server need not be
// asked once for each of them.
func (l *committer) withRoom(batch []item) []item {
	if l.tooLarge == 0 {
		return batch
	}
	kept := batch[:0]
	for i := range batch {
		if batch[i].size >= l.tooLarge {
			l.finish(&batch[i], 0, errStreamFull)
			continue
		}
		kept = append(kept, batch[i])
	}
	return kept
}

// groupSubject is the subject of records.
func (l *committer) groupSubject() string { return l.Prefixes[0] + groupSubject }

// storeTries is how often a record is stored again when another one came before it.
const storeTries = 5

// storeGroup stores batch as one record and gives the sequence of its last message. The record is
// stored only right behind the one that the committer takes for the newest: neither another process nor a
// record of its own whose answer got lost can make two messages have one sequence.
func (l *committer) storeGroup(ctx context.Context, batch []item) (uint64, error) {
	l.record = append(l.record[:0], groupVersion)
	for i := range batch {
		l.record = append(append(l.record, batch[i].head...), batch[i].data...)
	}
	for range storeTries {
		if l.newest == nil {
			if err := l.findNewest(ctx); err != nil {
				return 0, fmt.Errorf("%w: ask for the newest message: %s", errNoConnection, redact(err.Error())) // nothing was sent
			}
		}
		s := span{l.newest.last + 1, l.newest.last + uint64(len(batch))}
		ack, err := l.link().js.PublishMsg(ctx, &nats.Msg{Subject: l.groupSubject(), Data: l.record, Header: nats.Header{
			sequencesHeader:                 {s.String()},
			jetstream.ExpectedLastSeqHeader: {strconv.FormatUint(l.newest.number, 10)},
		}}, jetstream.WithRetryAttempts(0))
		if err == nil {
			l.newest = &record{ack.Sequence, s}
			l.index.add(*l.newest)
			return s.last, nil
		}
		var refused *jetstream.APIError
		if errors.As(err, &refused) && refused.ErrorCode == codeWrongSequence {
			l.newest = nil
			continue
		}
		if err = l.owner.classify(ctx, err); unknown(err) {
			l.newest = nil
		}
		return 0, err
	}
	return 0, fmt.Errorf("%w: others store in the stream, too", ErrBusy)
}

// findNewest asks where the stream ends.
func (l *committer) findNewest(ctx context.Context) error {
	newest, err := l.askNewest(ctx)
	if last := l.acknowledged.Load(); err == nil && newest.last < last {
		err = fmt.Errorf("message %d was stored, and now the stream ends at %d", last, newest.last)
	}
	if err != nil {
		if ctx.Err() == nil {
			l.lost = true
			l.owner.refuses(l.name(), "its end cannot be read: "+redact(err.Error()))
		}
		return err
	}
	if l.lost {
		l.lost = false
		l.owner.takes(l.name())
	}
	l.newest = &newest
	return nil
}

func (l *committer) askNewest(ctx context.Context) (record, error) {
	g, err := l.owner.openGrouped(ctx, l)
	if err != nil {
		return record{}, err
	}
	return g.newest(ctx)
}
