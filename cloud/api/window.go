package api

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"telltale.dev/cloud/backbone"
)

// Costs of a message in memory, in bytes.
const (
	messageCost = 200
	sampleCost  = 80 // the sample, its key, and the key's place in the set
)

// window is what happened to one vehicle, as far as somebody watches or watched it:
// the queue of all its watchers, and what those get who come back. Live.mu guards it.
type window struct {
	epoch    string // tells ids of this window from those of others
	first    uint64 // number of messages[0]
	messages []message
	bytes    int
	samples  map[uint64]struct{} // keys of those in messages
	watchers map[*watcher]struct{}
	recorded map[string]*record // by glob; "" is everything
	ended    bool               // the vehicle was deleted
}

// record is a glob whose samples are collected.
type record struct {
	since uint64    // number of the first message that has them
	users int       // watchers that want it
	idle  time.Time // when the last one left
}

// message is one event of the stream. It is never changed once it is in a window.
type message struct {
	device  string
	samples []Sample
	keys    []uint64
	kind    string // of an event without samples; empty: samples
	other   any
	cost    int
}

// next is the number of the next message.
func (w *window) next() uint64 { return w.first + uint64(len(w.messages)) }

func (w *window) id(number uint64) string { return w.epoch + "-" + strconv.FormatUint(number, 10) }

// add appends a message and gives its cost.
func (w *window) add(m message) int {
	m.cost = messageCost + sampleCost*len(m.samples)
	w.messages = append(w.messages, m)
	w.bytes += m.cost
	return m.cost
}

// evict drops the oldest message; each watcher that has not seen it has missed it.
func (w *window) evict() (freed int, missed uint64) {
	m := &w.messages[0]
	for reader := range w.watchers {
		if reader.next <= w.first {
			n := m.matching(reader.missing)
			reader.lost += n
			missed += n
			reader.next = w.first + 1
		}
	}
	for _, key := range m.keys {
		delete(w.samples, key)
	}
	freed = m.cost
	w.bytes -= freed
	w.messages[0] = message{}
	w.messages = w.messages[1:]
	w.first++
	return freed, missed
}

// matching counts what of the message passes the filter.
func (m *message) matching(f *backbone.Globs) (n uint64) {
	if m.kind != "" {
		return 1
	}
	for i := range m.samples {
		if f.Match(m.samples[i].Signal.Name) {
			n++
		}
	}
	return n
}

// forget drops the globs that nobody has wanted for windowAge.
func (w *window) forget(now time.Time) {
	for glob, r := range w.recorded {
		if r.users == 0 && now.Sub(r.idle) > windowAge {
			delete(w.recorded, glob)
		}
	}
}

// Errors of a stream that cannot begin.
var (
	errTooManyWatchers = errors.New("too many streams of events are open; try again later")
	errTooManyFilters  = errors.New("too many different filters on this vehicle's signals are in use; try again later, or without")
)

// record notes that a watcher wants the globs from now on.
func (w *window) record(globs []string) error {
	added := slices.DeleteFunc(slices.Clone(globs), func(g string) bool { return w.recorded[g] != nil })
	for len(w.recorded)+len(added) > maxRecorded {
		oldest := ""
		for glob, r := range w.recorded {
			if r.users == 0 && !slices.Contains(globs, glob) && (oldest == "" || r.idle.Before(w.recorded[oldest].idle)) {
				oldest = glob
			}
		}
		if oldest == "" {
			return errTooManyFilters
		}
		delete(w.recorded, oldest)
	}
	for _, glob := range added {
		w.recorded[glob] = &record{since: w.next()}
	}
	for _, glob := range globs {
		w.recorded[glob].users++
	}
	return nil
}

// watcher is one stream of events. Live.mu guards next, lost and missing.
type watcher struct {
	window  *window
	globs   []string
	filter  *backbone.Globs // for the stream
	missing *backbone.Globs // the same, for counting what it missed
	next    uint64          // number of the message that it gets next
	lost    uint64          // samples and other events since it was told
	gap     string          // where it wanted to go on and cannot; "": nowhere
	resumed bool            // it goes on where it was
	wake    chan struct{}
}

func (w *watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// watch begins a stream of the samples that match a glob, none means all. With the id of
// the last event that was received it goes on behind that one, as far as that is still
// there. forget must follow.
func (l *Live) watch(vid string, globs []string, after string) (*watcher, error) {
	if len(globs) == 0 {
		globs = []string{""}
	}
	globs = slices.Compact(slices.Sorted(slices.Values(globs)))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers >= maxWatchers {
		return nil, errTooManyWatchers
	}
	win := l.window(vid)
	reader := &watcher{
		window: win, globs: globs, filter: backbone.NewGlobs(globs), missing: backbone.NewGlobs(globs), next: win.next(), wake: make(chan struct{}, 1),
	}
	reader.resume(after)
	if err := win.record(globs); err != nil {
		return nil, err
	}
	win.watchers[reader] = struct{}{}
	l.watchers++
	reader.signal()
	return reader, nil
}

// window gives the window of a vehicle, made when missing. The caller holds mu.
func (l *Live) window(vid string) *window {
	if w := l.windows[vid]; w != nil {
		return w
	}
	for other, w := range l.windows {
		if len(l.windows) < maxWindows {
			break
		}
		if len(w.watchers) == 0 {
			l.remove(other, w)
		}
	}
	w := &window{
		epoch: strconv.FormatInt(time.Now().UnixMicro(), 36), first: 1,
		samples: map[uint64]struct{}{}, watchers: map[*watcher]struct{}{}, recorded: map[string]*record{},
	}
	l.windows[vid] = w
	return w
}

// resume moves the watcher behind the event with an id, or says that there is a gap.
func (w *watcher) resume(after string) {
	if after == "" {
		return
	}
	epoch, digits, _ := strings.Cut(after, "-")
	number, err := strconv.ParseUint(digits, 10, 64)
	win := w.window
	if err != nil || epoch != win.epoch || number >= win.next() {
		w.gap = after
		return
	}
	from := max(number+1, win.first)
	for _, glob := range w.globs {
		from = max(from, win.since(glob))
	}
	w.next, w.resumed = from, from == number+1
	if !w.resumed {
		w.gap = after
	}
}

// since gives the number of the first message that has all samples of a glob.
func (w *window) since(glob string) uint64 {
	since := w.next()
	for _, g := range [...]string{"", glob} {
		if r := w.recorded[g]; r != nil {
			since = min(since, r.since)
		}
	}
	return since
}

// forget ends a stream.
func (l *Live) forget(w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers--
	delete(w.window.watchers, w)
	for _, glob := range w.globs {
		if r := w.window.recorded[glob]; r != nil {
			r.users--
			r.idle = time.Now()
		}
	}
}

// taken is what a stream has to send.
type taken struct {
	lost     uint64 // before the messages
	first    uint64 // number of messages[0]
	messages []message
	ended    bool // nothing will follow
}

// take gives what is there for the watcher, at most takenAtOnce messages.
func (l *Live) take(w *watcher) taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	win := w.window
	t := taken{lost: w.lost, first: w.next, ended: win.ended}
	w.lost = 0
	from := int(w.next - win.first)
	to := min(from+takenAtOnce, len(win.messages))
	t.messages = slices.Clone(win.messages[from:to])
	w.next += uint64(len(t.messages))
	if to < len(win.messages) {
		w.signal()
	}
	return t
}
