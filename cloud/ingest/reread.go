package ingest

import (
	"context"
	"errors"
	"slices"
	"time"

	"telltale.dev/cloud/ingest/ledger"
)

// rereader gives messages that were read from a stream before, by their sequence. Asking for
// rising sequences is cheap; each step back or far ahead opens the stream anew. It belongs
// to one goroutine.
type rereader struct {
	stream Stream
	poll   time.Duration // longest wait for a message

	from, to uint64    // what the last read covered
	got      []Message // of it, in order
	empty    int       // reads in a row that gave nothing
}

// covers says whether the last read has told which message has this sequence, if one has: nothing is read for it.
func (r *rereader) covers(sequence uint64) bool { return r.from <= sequence && sequence <= r.to }

// message gives the message with a sequence, which is one of wanted unless the sequence is covered. Gone says that the stream
// has deleted it. Neither a message nor gone means that the stream gave nothing this time; when that lasts there is an
// error with it, and the message is to be asked for again.
func (r *rereader) message(ctx context.Context, sequence uint64, wanted *ledger.Ranges) (m *Message, gone bool, err error) {
	if !r.covers(sequence) {
		// Of a few messages among many, no more is read than has to be.
		most := wanted.Previous(sequence+readMessages-1) - sequence + 1
		got, err := r.stream.Read(ctx, sequence, int(most), r.poll)
		if err != nil {
			return nil, false, err
		}
		if len(got) == 0 {
			if r.empty++; r.empty < idleReads {
				return nil, false, nil
			}
			r.empty = 0
			gone, err = deleted(ctx, r.stream, sequence)
			return nil, gone, err
		}
		r.empty, r.from, r.to, r.got = 0, sequence, got[len(got)-1].Sequence, got
	}
	i, found := slices.BinarySearchFunc(r.got, sequence, func(m Message, s uint64) int {
		switch {
		case m.Sequence < s:
			return -1
		case m.Sequence > s:
			return 1
		}
		return 0
	})
	if !found {
		return nil, true, nil
	}
	return &r.got[i], false, nil
}

var errSilent = errors.New("the stream gives nothing, though it has the message")

// deleted says whether a stream that gave nothing from a sequence on, idleReads times in a row, has deleted the
// message. Its reader is silent also while the server is away, so the stream is asked what it has.
func deleted(ctx context.Context, s Stream, sequence uint64) (bool, error) {
	kept, ok := s.(Kept)
	if !ok {
		return true, nil
	}
	first, last, err := kept.Kept(ctx)
	switch {
	case err != nil:
		return false, err
	case first <= sequence && sequence <= last:
		return false, errSilent
	}
	return true, nil
}

// ended says whether a stream that gave nothing from a sequence on, idleReads times in a row, has nothing there up to
// last. An error says that it has, or that it could not be asked.
func ended(ctx context.Context, s Stream, from, last uint64) error {
	following, ok := s.(Following)
	if !ok {
		return nil
	}
	next, err := following.Next(ctx, from)
	if err == nil && next != 0 && next <= last {
		err = errSilent
	}
	return err
}
