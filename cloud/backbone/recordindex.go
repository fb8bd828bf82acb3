package backbone

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// keptRecords is how many places of records are remembered for each grouped stream: 12 kB.
const keptRecords = 512

// recordIndex remembers where some records of a grouped stream are, so that one is found by a sequence in it with few questions.
type recordIndex struct {
	// groups is the number of the first record with a header; 0: not known. Messages without one are of before only in front of it.
	groups atomic.Uint64

	mu    sync.Mutex // guards known
	known []record   // by number
}

// add remembers a record. When there are too many, each second one is forgotten, but never the newest.
func (x *recordIndex) add(r record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i, found := x.search(r.number)
	if found {
		return
	}
	if x.known = slices.Insert(x.known, i, r); len(x.known) <= keptRecords {
		return
	}
	kept := x.known[:0]
	for i := (len(x.known) - 1) % 2; i < len(x.known); i += 2 {
		kept = append(kept, x.known[i])
	}
	x.known = kept
}

func (x *recordIndex) search(number uint64) (int, bool) {
	return slices.BinarySearchFunc(x.known, number, func(r record, n uint64) int {
		switch {
		case r.number < n:
			return -1
		case r.number > n:
			return 1
		}
		return 0
	})
}

// at gives the record with a number, if it is remembered.
func (x *recordIndex) at(number uint64) (record, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i, found := x.search(number)
	if !found {
		return record{}, false
	}
	return x.known[i], true
}

// around gives the newest remembered record that begins at or before a sequence, and the oldest one that begins behind it.
func (x *recordIndex) around(sequence uint64) (before, behind record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := len(x.known) - 1; i >= 0; i-- {
		if x.known[i].first <= sequence {
			return x.known[i], behind
		}
		behind = x.known[i]
	}
	return record{}, behind
}

// newest gives the number of the newest remembered record; 0: there is none.
func (x *recordIndex) newest() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.known) == 0 {
		return 0
	}
	return x.known[len(x.known)-1].number
}

// forget forgets everything.
func (x *recordIndex) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.known = nil
	x.groups.Store(0)
}

// grouped is an open grouped stream with the state that it had when it was asked for.
type grouped struct {
	jetstream.Stream
	index   *recordIndex
	subject string // of records
	state   jetstream.StreamState
}

func (l *committer) groupedAt(s jetstream.Stream, state jetstream.StreamState) *grouped {
	return &grouped{Stream: s, index: &l.index, subject: l.groupSubject(), state: state}
}

// openGrouped asks for the state of a grouped stream.
func (b *Backbone) openGrouped(ctx context.Context, l *committer) (*grouped, error) {
	known := l.index.newest() // before the question: commits go on meanwhile
	s, err := b.reader.js.Stream(ctx, l.Name)
	if err != nil {
		return nil, err
	}
	g := l.groupedAt(s, s.CachedInfo().State)
	if known > g.state.LastSeq { // it is another stream
		g.index.forget()
	}
	return g, nil
}

// record gives the record with a number, or the next one when it is missing. The error wraps jetstream.ErrMsgNotFound when there is none.
func (g *grouped) record(ctx context.Context, number uint64) (record, error) {
	if r, known := g.index.at(number); known {
		return r, nil
	}
	m, err := g.GetMsg(ctx, max(1, number), jetstream.WithGetMsgSubject(">"))
	if err != nil {
		return record{}, err
	}
	foreign, err := g.foreign(ctx, m)
	if err != nil {
		return record{}, err
	}
	if foreign {
		if m, err = g.GetMsg(ctx, m.Sequence, jetstream.WithGetMsgSubject(g.subject)); err != nil {
			return record{}, err
		}
	}
	return g.remember(m)
}

func (g *grouped) remember(m *jetstream.RawStreamMsg) (record, error) {
	r, err := recordOf(m.Sequence, m.Header)
	if err == nil {
		g.index.add(r)
	}
	return r, err
}

// foreign says whether a message is none of ours: it is no record, and behind the first one. Only somebody else at an
// external server stores such. A message that is no record and in front of all is of a version before groups.
func (g *grouped) foreign(ctx context.Context, m *jetstream.RawStreamMsg) (bool, error) {
	if len(m.Header[sequencesHeader]) > 0 {
		return false, nil
	}
	first := g.index.groups.Load()
	if first == 0 {
		group, err := g.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(g.subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		first = group.Sequence
		g.index.groups.Store(first)
	}
	return m.Sequence > first, nil
}

// A replica of a cluster may not have the newest record yet: it is asked so often, with a pause in between.
const (
	newestTries = 20
	newestPause = 50 * time.Millisecond
)

// newest gives the last record that the stream had. When it is gone, its last sequence is the highest one that it can have had.
func (g *grouped) newest(ctx context.Context) (record, error) {
	if r, known := g.index.at(g.state.LastSeq); known {
		return r, nil
	}
	for try := 0; g.state.Msgs > 0; try++ {
		m, err := g.GetLastMsgForSubject(ctx, ">")
		if err == nil && m.Sequence >= g.state.LastSeq {
			return g.end(ctx, m)
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return record{}, err
		}
		if try == newestTries || !g.CachedInfo().Config.AllowDirect || g.CachedInfo().Config.Replicas < 2 {
			break
		}
		select {
		case <-time.After(newestPause):
		case <-ctx.Done():
			return record{}, ctx.Err()
		}
	}
	highest := g.state.LastSeq * maxGroup
	return record{g.state.LastSeq, span{highest, highest}}, nil
}

// end is the record of the newest message. Behind a message that is none of ours sequences go on where they were.
func (g *grouped) end(ctx context.Context, m *jetstream.RawStreamMsg) (record, error) {
	foreign, err := g.foreign(ctx, m)
	switch {
	case err != nil:
		return record{}, err
	case !foreign:
		return g.remember(m)
	}
	last, err := g.GetLastMsgForSubject(ctx, g.subject)
	if err != nil {
		return record{}, err
	}
	r, err := recordOf(last.Sequence, last.Header)
	return record{m.Sequence, r.span}, err
}

// find gives the number of the record with a sequence in it, or of the one before it. It may be of one that is further
// before, so that who reads from there on passes over what comes first, but never of one behind it, unless it is the oldest.
func (g *grouped) find(ctx context.Context, sequence uint64) (uint64, error) {
	before, behind := g.index.around(sequence)
	if before.number >= g.state.FirstSeq && sequence <= before.last {
		return before.number, nil
	}
	low, high := max(before.number, g.state.FirstSeq), min(sequence, g.state.LastSeq)
	if behind.number > 0 {
		high = min(high, behind.number-1)
	}
	for low < high {
		middle := low + (high-low+1)/2
		r, err := g.record(ctx, middle)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound), err == nil && (r.number > high || r.first > sequence):
			high = middle - 1
		case err != nil:
			return 0, err
		case sequence <= r.last:
			return r.number, nil
		default:
			low = r.number
		}
	}
	return max(1, low), nil
}

// extent gives the sequences of the oldest and the newest message; first is behind last when there are none.
func (g *grouped) extent(ctx context.Context) (first, last uint64, err error) {
	newest, err := g.newest(ctx)
	if err != nil || g.state.Msgs == 0 {
		return newest.last + 1, newest.last, err
	}
	oldest, err := g.record(ctx, g.state.FirstSeq)
	if errors.Is(err, jetstream.ErrMsgNotFound) { // deleted meanwhile
		return newest.last + 1, newest.last, nil
	}
	return oldest.first, newest.last, err
}

// next gives the sequence of the first message from a sequence on; 0: there is none.
func (g *grouped) next(ctx context.Context, from uint64) (uint64, error) {
	number, err := g.find(ctx, from)
	if err != nil {
		return 0, err
	}
	r, err := g.record(ctx, number)
	if err == nil && r.last < from {
		r, err = g.record(ctx, r.number+1)
	}
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return max(from, r.first), nil
}
