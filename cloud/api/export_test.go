package api

import "net/http"

// Patterns lists the patterns of all routes that a server has.
func Patterns() []string {
	mux := &recorder{ServeMux: http.NewServeMux()}
	(&Server{}).describe(mux)
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

// LiveQueue is exported for tests of slow watchers.
const LiveQueue = liveQueue
