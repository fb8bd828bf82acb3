package api

import (
	"context"
	"sync"
	"sync/atomic"
)

// liveQueue is how many messages a slow watcher may lag; what overflows is dropped for it and counted.
const liveQueue = 256

// Live hands live changes to watchers. A slow watcher never holds up the others or the stream.
type Live struct {
	mu       sync.RWMutex // guards watchers
	watchers map[string]map[*watcher]struct{}
	dropped  atomic.Uint64
}

type watcher struct{ queue chan any }

// NewLive makes a hub without watchers.
func NewLive() *Live { return &Live{watchers: map[string]map[*watcher]struct{}{}} }

// Watched says whether anybody watches the vehicle, so that events need not be made for nobody.
func (l *Live) Watched(vid string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.watchers[vid]) > 0
}

// Dropped counts messages that slow watchers missed.
func (l *Live) Dropped() uint64 { return l.dropped.Load() }

// Publish hands an Events or PresenceEvent to the vehicle's watchers.
func (l *Live) Publish(vid string, event any) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for w := range l.watchers[vid] {
		select {
		case w.queue <- event:
		default:
			l.dropped.Add(1)
		}
	}
}

// watch calls send for each message until ctx ends or send fails.
func (l *Live) watch(ctx context.Context, vid string, send func(any) error) {
	w := &watcher{queue: make(chan any, liveQueue)}
	l.mu.Lock()
	if l.watchers[vid] == nil {
		l.watchers[vid] = map[*watcher]struct{}{}
	}
	l.watchers[vid][w] = struct{}{}
	l.mu.Unlock()
	defer l.forget(vid, w)
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-w.queue:
			if send(event) != nil {
				return
			}
		}
	}
}

func (l *Live) forget(vid string, w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers[vid], w)
	if len(l.watchers[vid]) == 0 {
		delete(l.watchers, vid)
	}
}
