package virtual

import (
	"sync"

	"telltale.dev/protocol/can"
)

// Wire is one bus of a hub: the frames put on it, numbered from 0, of which
// the newest are kept in a ring for the readers.
//
//	index     0 … │ lost for a slow reader │ ring (≤ limit) │ next frame
//	                                         ↑ oldest         ↑ head
type Wire struct {
	name  string
	limit uint64
	tap   func(bus string, first uint64, frames []can.Frame)

	mu      sync.Mutex // guards all below
	moved   *sync.Cond // new frames, or a reader that ends
	ring    []can.Frame
	head    uint64 // frames put on the bus so far
	readers []*reader
}

func newWire(name string, limit int, tap func(string, uint64, []can.Frame)) *Wire {
	w := &Wire{name: name, limit: uint64(limit), tap: tap, ring: make([]can.Frame, min(firstRing, limit))}
	w.moved = sync.NewCond(&w.mu)
	return w
}

// Name gives the name of the bus.
func (w *Wire) Name() string { return w.name }

// Frames gives how many frames have been put on the bus: the index of the next one.
func (w *Wire) Frames() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head
}

// Send puts frames on the bus and gives the index of the first; the others
// follow without a gap. It never waits for a reader, copies the frames, and
// may be called by any goroutine. Frames that no bus could carry (checked by
// drivers on their way in) must not be sent.
func (w *Wire) Send(frames []can.Frame) (first uint64) { return w.send(frames, nil) }

// send is Send by one of the readers, which does not get its own frames.
func (w *Wire) send(frames []can.Frame, by *reader) (first uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first = w.head
	if len(frames) == 0 {
		return first
	}
	w.makeRoom(uint64(len(frames)))
	for rest := frames; len(rest) > 0; {
		n := copy(w.ring[w.head%uint64(len(w.ring)):], rest)
		w.head += uint64(n)
		rest = rest[n:]
	}
	if by != nil {
		by.sent += uint64(len(frames))
		by.own = appendRange(by.own, Range{first, w.head})
	}
	if w.tap != nil {
		w.tap(w.name, first, frames)
	}
	w.moved.Broadcast()
	return first
}

// makeRoom grows the ring up to its limit when n more frames would overwrite
// some that a reader has not got yet. Callers hold mu.
func (w *Wire) makeRoom(n uint64) {
	size, need := uint64(len(w.ring)), uint64(0)
	for _, r := range w.readers {
		need = max(need, w.head+n-r.next)
	}
	if need <= size || size == w.limit {
		return
	}
	oldest := w.head - min(w.head, size)
	for size < need && size < w.limit {
		size = min(2*size, w.limit)
	}
	ring := make([]can.Frame, size)
	for i := oldest; i < w.head; i++ {
		ring[i%size] = w.ring[i%uint64(len(w.ring))]
	}
	w.ring = ring
}

// attach adds r; its first frame is the next one on the bus.
func (w *Wire) attach(r *reader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.first, r.next = w.head, w.head
	w.readers = append(w.readers, r)
}

// detach ends r: its writer goes home, with failure as its last words when it is not empty.
func (w *Wire) detach(r *reader, failure string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.readers {
		if other == r {
			w.readers = append(w.readers[:i:i], w.readers[i+1:]...)
			w.skip(r)
			r.end, r.ended, r.failure = w.head, true, failure
		}
	}
	w.moved.Broadcast()
}

// skip moves r past the frames that the ring no longer has and counts them as
// dropped, but for its own. Callers hold mu.
func (w *Wire) skip(r *reader) {
	oldest := w.head - min(w.head, uint64(len(w.ring)))
	for r.next < oldest {
		if own := r.ownAt(r.next); own > r.next {
			r.next = min(own, oldest)
			continue
		}
		until := oldest
		if len(r.own) > 0 {
			until = min(until, r.own[0].First)
		}
		r.drop(Range{r.next, until})
		r.next = until
	}
}

// take waits for frames that r has not got yet and encodes a message of them
// into msg. It gives nil when r has ended.
func (w *Wire) take(r *reader, msg []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.busy = false
	for !r.ended {
		msg = beginFrames(msg)
		w.skip(r)
		count := 0
		for r.next < w.head && count < batchFrames {
			if own := r.ownAt(r.next); own > r.next {
				r.next = min(own, w.head)
				continue
			}
			msg = appendFrame(msg, &w.ring[r.next%uint64(len(w.ring))])
			r.next++
			count++
		}
		if count > 0 {
			endFrames(msg, r.untold, count)
			r.untold, r.busy = 0, true
			return msg
		}
		w.moved.Wait()
	}
	return nil
}

// drained says whether every reader has been handed every frame.
func (w *Wire) drained() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.readers {
		if r.busy || r.next < w.head && r.ownAt(r.next) < w.head {
			return false
		}
	}
	return true
}
