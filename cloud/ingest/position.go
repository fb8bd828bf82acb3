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
	if p.open.Empty() {
		return p.read
	}
	return p.open.Min() - 1
}

// number is what the lake calls the position: read, less those open. It is the prefix when
// nothing is open, never less than it, and grows with each message done.
func (p *position) number() uint64 { return p.read - p.open.Count() }

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
	p.open.Add(ledger.Span{From: sequence, To: sequence})
	return true, gone
}

// done notes that a message is done.
func (p *position) done(sequence uint64) { p.open.Remove(ledger.Span{From: sequence, To: sequence}) }

// checkpointVersion begins what a commit keeps when not everything that was read is done:
//
//	version, read, the set of those open, the ledger's snapshot
//
// Else it is the ledger's snapshot alone, which begins with another version.
const checkpointVersion = 2

// checkpoint joins the position and the ledger's snapshot.
func (p *position) checkpoint(snapshot []byte) []byte {
	if p.open.Empty() {
		return snapshot
	}
	out := binary.AppendUvarint([]byte{checkpointVersion}, p.read)
	return append(p.open.AppendTo(out), snapshot...)
}

// restore reads what checkpoint made for the lake's number last, and gives the ledger's part.
func (p *position) restore(last uint64, checkpoint []byte) (snapshot []byte, err error) {
	*p = position{read: last, next: last + 1, resume: last}
	if len(checkpoint) == 0 || checkpoint[0] != checkpointVersion {
		return checkpoint, nil
	}
	read, n := binary.Uvarint(checkpoint[1:])
	if n <= 0 {
		return nil, fmt.Errorf("position: cut short: %w", ledger.ErrSnapshot)
	}
	p.read = read
	if p.open, snapshot, err = ledger.ReadRanges(checkpoint[1+n:]); err != nil {
		return nil, fmt.Errorf("position: %w", err)
	}
	if p.open.Max() > p.read || p.open.Empty() || p.number() != last {
		return nil, fmt.Errorf("position: expected it to match the lake's: %w", ledger.ErrSnapshot)
	}
	p.resume, p.next = p.read, p.prefix()+1
	return snapshot, nil
}
