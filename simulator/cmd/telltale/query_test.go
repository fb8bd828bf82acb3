package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWatchLosesTheCloud: a cloud that ends, or dies, while it is watched is told in one line.
func TestWatchLosesTheCloud(t *testing.T) {
	for name, end := range map[string]func(){"ends": func() {}, "dies": func() { panic(http.ErrAbortHandler) }} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasSuffix(r.URL.Path, "/events") {
					fmt.Fprint(w, `{"vid":"anna"}`)
					return
				}
				fmt.Fprint(w, "event: presence\ndata: {\"did\":\"tcu-a\",\"presence\":\"online\"}\n\n")
				w.(http.Flusher).Flush()
				end()
			}))
			defer server.Close()
			err := (&watchCommand{cloudAPI: cloudAPI{API: server.URL}, VID: "anna"}).Run(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "the cloud ended the stream: ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line that the stream has ended", err)
			}
		})
	}
}

// TestPlain: names and texts come from vehicles.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"km/h": "km/h", "°C, µ": "°C, µ",
		"A\tB\n": "A\uFFFDB\uFFFD", "\x1b[2J\u009b31m": "\uFFFD[2J\uFFFD31m",
	} {
		if got := plain(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
