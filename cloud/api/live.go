package api

import (
	"hash/maphash"
	"math"
	"sync"
	"time"

	"telltale.dev/cloud/backbone"
)

// Bounds of live events. A vehicle's messages are kept once for all who watch it, and a
// while for who comes back; who reads too slowly loses the oldest and is told how many.
const (
	windowBytes  = 16 << 20        // of one vehicle: some 200,000 samples; its watchers pay
	allBytes     = 128 << 20       // of all vehicles: the watchers of the one with the most pay
	windowAge    = 5 * time.Minute // how long messages are collected after the last watcher left
	maxWatchers  = 1024            // all streams together: more are refused with 503
	maxWindows   = 2048            // vehicles with messages, watched or not: those that nobody watches go first
	maxRecorded  = 64              // different globs of one vehicle that samples are collected for
	messageRows  = 512             // samples in one message
	takenAtOnce  = 32              // messages that a stream takes out of the window at once
	heartbeat    = 15 * time.Second
	sweepSpacing = 10 * time.Second
)

// SignalInfo says which signal a sample is of.
type SignalInfo struct {
	Bus, Message, Name, Unit string
}

// Sample is one value of a signal.
type Sample struct {
	Time   int64 // µs since the Unix epoch
	Signal *SignalInfo
	Value  float64
	Text   string // from the value table
	// Quality says why Value is no measurement; empty: it is one.
	Quality string
}

// Live hands live changes to watchers. A slow watcher never holds up the others or the stream.
type Live struct {
	heartbeat time.Duration
	seed      maphash.Seed

	mu       sync.Mutex // guards all below, and what is in the windows
	windows  map[string]*window
	bytes    int
	watchers int
	dropped  uint64
	swept    time.Time
}

// NewLive makes a hub without watchers.
func NewLive() *Live {
	return &Live{heartbeat: heartbeat, seed: maphash.MakeSeed(), windows: map[string]*window{}}
}

// Wanted is which signals of a vehicle somebody watches, or watched a while ago.
type Wanted struct{ filter *backbone.Globs }

// Signal says whether samples of a signal are wanted.
func (w *Wanted) Signal(name string) bool { return w.filter.Match(name) }

// Wanted gives what is wanted of a vehicle; nil: nothing, so that samples need not be made for nobody.
func (l *Live) Wanted(vid string) *Wanted {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[vid]
	if w == nil || len(w.recorded) == 0 {
		return nil
	}
	globs := make([]string, 0, len(w.recorded))
	for glob := range w.recorded {
		globs = append(globs, glob)
	}
	return &Wanted{backbone.NewGlobs(globs)}
}

// Watchers is how many watch any vehicle.
func (l *Live) Watchers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watchers
}

// Dropped counts samples and other events that slow watchers missed.
func (l *Live) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// PublishSamples hands samples of a device, in the order of time, to the vehicle's
// watchers. One that is there already, with the same signal, time and value, is left out:
// two campaigns may collect the same signal.
func (l *Live) PublishSamples(vid, device string, samples []Sample) {
	keys := make([]uint64, len(samples))
	for i := range samples {
		keys[i] = l.key(device, &samples[i])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[vid]
	if w == nil {
		return
	}
	m := message{device: device}
	for i, key := range keys {
		if _, twice := w.samples[key]; twice {
			continue
		}
		w.samples[key] = struct{}{}
		m.samples, m.keys = append(m.samples, samples[i]), append(m.keys, key)
		if len(m.samples) == messageRows {
			l.add(w, m)
			m = message{device: device}
		}
	}
	if len(m.samples) > 0 {
		l.add(w, m)
	}
}

// key tells samples of a device apart.
func (l *Live) key(device string, s *Sample) uint64 {
	type identity struct {
		device, bus, message, name string
		time                       int64
		value                      uint64
		quality                    string
	}
	return maphash.Comparable(l.seed, identity{device, s.Signal.Bus, s.Signal.Message, s.Signal.Name, s.Time, math.Float64bits(s.Value), s.Quality})
}

// Publish hands an event of a kind to the vehicle's watchers. It becomes JSON later, and must not be changed.
func (l *Live) Publish(vid, kind string, event any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.windows[vid]; w != nil {
		l.add(w, message{kind: kind, other: event})
	}
}

// add puts a message into a window, makes room for it, and wakes who waits. The caller holds mu.
func (l *Live) add(w *window, m message) {
	l.bytes += w.add(m)
	for w.bytes > windowBytes {
		l.evict(w)
	}
	for l.bytes > allBytes {
		l.evict(l.largest())
	}
	for reader := range w.watchers {
		reader.signal()
	}
	l.sweep(time.Now())
}

// evict drops the oldest message of a window. The caller holds mu.
func (l *Live) evict(w *window) {
	freed, missed := w.evict()
	l.bytes -= freed
	l.dropped += missed
}

// largest gives the window with the most bytes. The caller holds mu; there is one.
func (l *Live) largest() (most *window) {
	for _, w := range l.windows {
		if most == nil || w.bytes > most.bytes {
			most = w
		}
	}
	return most
}

// sweep forgets what nobody has watched for windowAge. The caller holds mu.
func (l *Live) sweep(now time.Time) {
	if now.Sub(l.swept) < sweepSpacing {
		return
	}
	l.swept = now
	for vid, w := range l.windows {
		w.forget(now)
		if len(w.recorded) == 0 && len(w.watchers) == 0 {
			l.remove(vid, w)
		}
	}
}

func (l *Live) remove(vid string, w *window) {
	l.bytes -= w.bytes
	delete(l.windows, vid)
}

// End ends the streams of a vehicle that was deleted and forgets what they had.
func (l *Live) End(vid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[vid]
	if w == nil {
		return
	}
	l.remove(vid, w)
	w.ended = true
	for reader := range w.watchers {
		reader.signal()
	}
}
