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

// Watchers is how many watch any vehicle.
func (l *Live) Watchers() (n int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, w := range l.watchers {
		n += len(w)
	}
	return n
}

// Dropped counts messages that slow watchers missed.
func (l *Live) Dropped() uint64 { return l.dropped.Load() }

// PublishState hands changes of signals to the vehicle's watchers.
func (l *Live) PublishState(vid string, events Events) { l.publish(vid, events) }

// PublishPresence hands a change of presence to the vehicle's watchers.
func (l *Live) PublishPresence(vid string, event PresenceEvent) { l.publish(vid, event) }

// PublishStorage hands a device's word on its data partition to the vehicle's watchers.
func (l *Live) PublishStorage(vid string, event StorageEvent) { l.publish(vid, event) }

func (l *Live) publish(vid string, event any) {
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

// watch begins to collect what is published; forget must follow.
func (l *Live) watch(vid string) *watcher {
	w := &watcher{queue: make(chan any, liveQueue)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers[vid] == nil {
		l.watchers[vid] = map[*watcher]struct{}{}
	}
	l.watchers[vid][w] = struct{}{}
	return w
}

func (l *Live) forget(vid string, w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers[vid], w)
	if len(l.watchers[vid]) == 0 {
		delete(l.watchers, vid)
	}
}

// follow calls send for each message until ctx ends or send fails.
func (w *watcher) follow(ctx context.Context, send func(any) error) {
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
