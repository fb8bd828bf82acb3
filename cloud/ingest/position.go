package ingest

import (
	"encoding/binary"
	"fmt"

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
// ledger's snapshot alone, which begins with another byte:
//
//	2: version, read, the set of those open, the ledger's snapshot
//	3: version, read, the set of those open, the set of those that wait for the lake, the ledger's snapshot
const (
	checkpointOpen    = 2
	checkpointWaiting = 3
)

// number is what the lake calls the position: how many of those read are in the lake, or
// need not be. It grows with each message of which that becomes true.
func (p *position) number(waiting *ledger.Ranges) uint64 {
	return p.read - p.open.Count() - waiting.Count()
}

// checkpoint joins the position, the messages that are done but wait for the lake, and the
// ledger's snapshot, which knows those that wait as stored.
func (p *position) checkpoint(waiting *ledger.Ranges, snapshot []byte) []byte {
	var out []byte
	switch {
	case !waiting.Empty():
		out = binary.AppendUvarint([]byte{checkpointWaiting}, p.read)
		out = waiting.AppendTo(p.open.AppendTo(out))
	case !p.open.Empty():
		out = binary.AppendUvarint([]byte{checkpointOpen}, p.read)
		out = p.open.AppendTo(out)
	}
	return append(out, snapshot...)
}

// restore reads what checkpoint made for the lake's number last, and gives those that wait
// for the lake and the ledger's part.
func (p *position) restore(last uint64, checkpoint []byte) (waiting ledger.Ranges, snapshot []byte, err error) {
	*p = position{read: last, next: last + 1, resume: last}
	if len(checkpoint) == 0 || checkpoint[0] != checkpointOpen && checkpoint[0] != checkpointWaiting {
		return waiting, checkpoint, nil
	}
	read, n := binary.Uvarint(checkpoint[1:])
	if n <= 0 {
		return waiting, nil, fmt.Errorf("position: cut short: %w", ledger.ErrSnapshot)
	}
	p.read = read
	p.open, snapshot, err = ledger.ReadRanges(checkpoint[1+n:])
	if err == nil && checkpoint[0] == checkpointWaiting {
		waiting, snapshot, err = ledger.ReadRanges(snapshot)
	}
	if err != nil {
		return waiting, nil, fmt.Errorf("position: %w", err)
	}
	both := intersect(p.open, waiting)
	if max(p.open.Max(), waiting.Max()) > p.read || p.open.Empty() && waiting.Empty() || !both.Empty() || p.number(&waiting) != last {
		return waiting, nil, fmt.Errorf("position: expected it to match the lake's: %w", ledger.ErrSnapshot)
	}
	p.resume, p.next = p.read, p.prefix()+1
	return waiting, snapshot, nil
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
