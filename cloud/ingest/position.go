package ingest

import (
	"encoding/binary"
	"fmt"
	"slices"

	"telltale.dev/cloud/ingest/ledger"
)

// position says which messages of the stream are done. They need not be a prefix of
// it: a vehicle's backlog may wait while other vehicles' newer messages are done.
//
//	1 … prefix | prefix+1 … read           | read+1 …
//	all done   | done, but for those open  | not read
//
// It is owned by Processor.Run.
type position struct {
	read uint64        // highest sequence that was read
	open ledger.Ranges // read, and not done

	next   uint64 // sequence to read next
	resume uint64 // highest sequence read before the restart: up to it only what is open is done again
}

// prefix is the highest sequence up to which all are done.
func (p *position) prefix() uint64 {
	return below(&p.open, p.read)
}

// take notes that a message was read. It says whether it has to be done, and how many
// that had to be done are gone from the stream before it.
func (p *position) take(sequence uint64) (todo bool, gone uint64) {
	if sequence < p.next {
		return false, 0
	}
	if sequence > p.next {
		missing := ledger.Span{From: p.next, To: sequence - 1}
		if old := (ledger.Span{From: p.next, To: min(missing.To, p.resume)}); old.From <= old.To {
			gone += p.open.Within(old)
			p.open.Remove(old)
		}
		if missing.To > p.resume {
			gone += missing.To - max(p.resume, missing.From-1)
		}
	}
	p.next = sequence + 1
	if sequence <= p.resume {
		return p.open.Has(sequence), gone
	}
	p.read = sequence
	p.open.Add(one(sequence))
	return true, gone
}

// done notes that a message is done.
func (p *position) done(sequence uint64) { p.open.Remove(one(sequence)) }

// Versions of what a commit keeps beside the lake's number, when that is more than the
// ledger's part alone, which begins with another byte:
//
//	2: version, read, the set of those open as runs, the ledger's part; of versions before
//	3: version, read, the set of those open, the set of those that wait for the lake, the ledger's part
const (
	checkpointRuns    = 2
	checkpointWaiting = 3
)

// number is what the lake calls the position: how many of those read are in the lake, or
// need not be. It grows with each message of which that becomes true.
func (p *position) number(waiting *ledger.Ranges) uint64 {
	return p.read - p.open.Count() - waiting.Count()
}

// checkpoint joins the position, the messages that are done but wait for the lake, and the
// ledger's part, which knows those that wait as stored.
func (p *position) checkpoint(waiting *ledger.Ranges, part []byte) []byte {
	if waiting.Empty() && p.open.Empty() {
		return part
	}
	out := binary.AppendUvarint([]byte{checkpointWaiting}, p.read)
	return append(waiting.AppendTo(p.open.AppendTo(out)), part...)
}

// restore reads what checkpoint made for the commits up to the lake's number last, and gives those that wait
// for the lake and the ledger's parts. Of the position only what the newest says counts.
func (p *position) restore(last uint64, checkpoints [][]byte) (waiting ledger.Ranges, parts [][]byte, err error) {
	*p = position{read: last, next: last + 1, resume: last}
	var newest opened
	for _, c := range checkpoints {
		if newest, err = openCheckpoint(c); err != nil {
			return waiting, nil, err
		}
		parts = append(parts, newest.part)
	}
	if len(newest.head) == 0 {
		return waiting, parts, nil
	}
	p.read, p.open, waiting = newest.read, newest.open, newest.waiting
	both := intersect(p.open, waiting)
	if max(p.open.Max(), waiting.Max()) > p.read || p.open.Empty() && waiting.Empty() || !both.Empty() || p.number(&waiting) != last {
		return waiting, nil, fmt.Errorf("position: expected it to match the lake's: %w", ledger.ErrSnapshot)
	}
	p.resume, p.next = p.read, p.prefix()+1
	return waiting, parts, nil
}

// opened is what checkpoint made, taken apart.
type opened struct {
	head          []byte // all before the ledger's part; empty when nothing is open or waits
	read          uint64
	open, waiting ledger.Ranges
	part          []byte // the ledger's
}

func openCheckpoint(c []byte) (o opened, err error) {
	if len(c) == 0 || c[0] != checkpointRuns && c[0] != checkpointWaiting {
		return opened{part: c}, nil
	}
	read, n := binary.Uvarint(c[1:])
	if n <= 0 {
		return o, fmt.Errorf("position: cut short: %w", ledger.ErrSnapshot)
	}
	o.read = read
	if c[0] == checkpointRuns {
		o.open, o.part, err = ledger.ReadRuns(c[1+n:])
	} else if o.open, o.part, err = ledger.ReadRanges(c[1+n:]); err == nil {
		o.waiting, o.part, err = ledger.ReadRanges(o.part)
	}
	if err != nil {
		return o, fmt.Errorf("position: %w", err)
	}
	o.head = c[:len(c)-len(o.part)]
	return o, nil
}

// Fold joins what the lake was given by commits, in their order, to one that says the same; there is at least one.
func Fold(checkpoints ...[]byte) ([]byte, error) {
	var newest opened
	var parts [][]byte
	var err error
	for _, c := range checkpoints {
		if newest, err = openCheckpoint(c); err != nil {
			return nil, err
		}
		parts = append(parts, newest.part)
	}
	part, err := ledger.Fold(parts...)
	return append(slices.Clip(newest.head), part...), err
}

// one is the span of one message.
func one(sequence uint64) ledger.Span { return ledger.Span{From: sequence, To: sequence} }

// below is the highest sequence up to which a set has no member; to is what is read.
func below(set *ledger.Ranges, to uint64) uint64 {
	if set.Empty() {
		return to
	}
	return min(to, set.Min()-1)
}

// intersect is what both sets have.
func intersect(a, b ledger.Ranges) ledger.Ranges {
	rest := a.Clone()
	rest.RemoveAll(b)
	both := a.Clone()
	both.RemoveAll(rest)
	return both
}
