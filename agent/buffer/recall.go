package buffer

import (
	"errors"
	"math"
	"unique"

	"telltale.dev/protocol"
)

// Errors of Send.
var (
	// ErrPurged says that a record was purged after it had been read.
	ErrPurged = errors.New("buffer: the record was purged")
	// ErrUndecided says that a purge of the record is under way. Whether it comes to pass is known soon.
	ErrUndecided = errors.New("buffer: the record is being purged")
)

// positions are those of the newest record of each class at one moment.
type positions [protocol.Priorities + 1]Position

// sending is a write of a record that is under way.
type sending struct {
	purpose unique.Handle[string]
	ended   chan struct{}
}

// Send calls write for a record that was read, unless a purge has taken the record since: then it gives ErrPurged, or
// ErrUndecided while the purge is under way. A purge that begins while write runs does not return before write has, so after a
// purge nothing of its purpose is written any more. A record that was evicted or acknowledged since may still be
// sent. Other errors are those of write.
func (b *Buffer) Send(pos Position, purpose string, write func() error) error {
	s := &sending{purpose: unique.Make(purpose), ended: make(chan struct{})}
	if err := b.startSending(pos, s); err != nil {
		return err
	}
	defer func() {
		b.mu.Lock()
		delete(b.sends, s)
		b.mu.Unlock()
		close(s.ended)
	}()
	return write()
}

func (b *Buffer) startSending(pos Position, s *sending) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !valid(pos.Class) {
		return nil
	}
	if seg := b.byClass[pos.Class].find(pos.Segment); seg != nil && seg.hidden.has(int(pos.Index)) {
		return ErrUndecided
	}
	if until, ok := b.purged[s.purpose]; ok && !until[pos.Class].Before(pos) {
		return ErrPurged
	}
	b.sends[s] = struct{}{}
	return nil
}

// purgedUntilNow remembers that all records of a purpose which there are were purged; under mu. One entry for each purpose that
// was purged since Open: the caller's own purposes are few.
func (b *Buffer) purgedUntilNow(purpose unique.Handle[string]) {
	var until positions
	for class := range until {
		until[class] = Position{Segment: b.accounts.next[class], Index: math.MaxUint32}
		if s := b.byClass[class].newest(); s != nil {
			until[class] = Position{Segment: s.id.number - 1, Index: math.MaxUint32}
			if n := len(s.items); n > 0 {
				until[class] = Position{Segment: s.id.number, Index: uint32(n - 1)}
			}
		}
	}
	b.purged[purpose] = until
}

// awaitSends waits until no record of a purpose is being written whose write began before.
func (b *Buffer) awaitSends(purpose unique.Handle[string]) {
	var list []*sending
	b.mu.Lock()
	for s := range b.sends {
		if s.purpose == purpose {
			list = append(list, s)
		}
	}
	b.mu.Unlock()
	for _, s := range list {
		<-s.ended
	}
}
