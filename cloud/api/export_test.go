package api

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Patterns lists the patterns of all routes of a server with routes.
func Patterns(routes ...func(huma.API)) []string {
	mux := &recorder{ServeMux: http.NewServeMux()}
	(&Server{cfg: Config{Extensions: Extensions{Routes: routes}}}).describe(mux)
	return mux.patterns
}

type recorder struct {
	*http.ServeMux
	patterns []string
}

func (r *recorder) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	r.patterns = append(r.patterns, pattern)
	r.ServeMux.HandleFunc(pattern, handler)
}

// Anybody and Permit are the way of a request to the access table.
var (
	Anybody = anybody
	Permit  = permit
)

// Bounds of live events for tests.
const (
	WindowBytes = windowBytes
	AllBytes    = allBytes
	MaxWatchers = maxWatchers
	MessageRows = messageRows
)

// SetHeartbeat shortens the time between heartbeats.
func (l *Live) SetHeartbeat(d time.Duration) { l.heartbeat = d }

// Bytes is what all windows have.
func (l *Live) Bytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// Age lets time go by for what nobody watches.
func (l *Live) Age(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.swept = time.Time{}
	l.sweep(time.Now().Add(d))
}

// Watch makes a watcher that never reads.
func (l *Live) Watch(vid string) {
	if _, err := l.watch(vid, nil, ""); err != nil {
		panic(err)
	}
}
