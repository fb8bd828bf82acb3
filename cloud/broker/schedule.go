package broker

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// schedule remembers when each session without connection is next due: at most one
// time per session, soonest first.
type schedule struct {
	changed chan struct{} // capacity 1: the soonest time may have changed

	mu      sync.Mutex // guards what follows
	times   []appointment
	indexes map[*session]int
}

type appointment struct {
	at      time.Time
	session *session
}

func (s *schedule) init() {
	s.changed = make(chan struct{}, 1)
	s.indexes = make(map[*session]int)
}

// set makes or moves the appointment of a session.
func (s *schedule) set(session *session, at time.Time) {
	s.mu.Lock()
	if i, ok := s.indexes[session]; ok {
		s.times[i].at = at
		heap.Fix((*scheduleHeap)(s), i)
	} else {
		heap.Push((*scheduleHeap)(s), appointment{at, session})
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// clear drops the appointment of a session, if there is one.
func (s *schedule) clear(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.indexes[session]; ok {
		heap.Remove((*scheduleHeap)(s), i)
	}
}

func (s *schedule) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.times)
}

// run calls due for each session at its time, until ctx is done.
func (s *schedule) run(ctx context.Context, due func(*session, time.Time)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.untilNext())
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case <-timer.C:
		}
		for now := time.Now(); ; {
			session := s.pop(now)
			if session == nil {
				break
			}
			due(session, now)
		}
	}
}

func (s *schedule) untilNext() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.times) == 0 {
		return time.Hour
	}
	return time.Until(s.times[0].at)
}

// pop takes the soonest session whose time has come, nil when there is none.
func (s *schedule) pop(now time.Time) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.times) == 0 || s.times[0].at.After(now) {
		return nil
	}
	return heap.Pop((*scheduleHeap)(s)).(appointment).session
}

// scheduleHeap is schedule for package heap. The caller holds mu.
type scheduleHeap schedule

func (h *scheduleHeap) Len() int           { return len(h.times) }
func (h *scheduleHeap) Less(i, j int) bool { return h.times[i].at.Before(h.times[j].at) }

func (h *scheduleHeap) Swap(i, j int) {
	h.times[i], h.times[j] = h.times[j], h.times[i]
	h.indexes[h.times[i].session], h.indexes[h.times[j].session] = i, j
}

// Push implements heap.Interface.
func (h *scheduleHeap) Push(x any) {
	a := x.(appointment)
	h.indexes[a.session] = len(h.times)
	h.times = append(h.times, a)
}

// Pop implements heap.Interface.
func (h *scheduleHeap) Pop() any {
	last := h.times[len(h.times)-1]
	h.times[len(h.times)-1] = appointment{}
	h.times = h.times[:len(h.times)-1]
	delete(h.indexes, last.session)
	return last
}
