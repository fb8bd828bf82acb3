package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/client"
)

// TestWatchLosesTheCloud: a cloud that ends, or dies, while it is watched is told in one line.
func TestWatchLosesTheCloud(t *testing.T) {
	for name, end := range map[string]func(){"ends": func() {}, "dies": func() { panic(http.ErrAbortHandler) }} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, "event: presence\ndata: {\"did\":\"tcu-a\",\"presence\":\"online\"}\n\n")
				w.(http.Flusher).Flush()
				end()
			}))
			defer server.Close()
			err := (&Watch{Client: client.Client{API: server.URL}, VID: "anna"}).Run(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "the cloud ended the stream: ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line that the stream has ended", err)
			}
		})
	}
}

// TestPresenceLine: what a watch begins with is as old as it is, not as old as the watch.
func TestPresenceLine(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	before := now.Add(-time.Hour)
	for data, since := range map[string]time.Time{
		`{"did":"tcu-a","presence":"lost"}`:                               now,
		`{"time":"2026-11-30T11:00:00Z","did":"tcu-a","presence":"lost"}`: before,
	} {
		if got, err := presenceLine([]byte(data), now); err != nil || got != clock(&since)+"  tcu-a is lost" {
			t.Errorf("%s: got %q, %v, want it since %v", data, got, err, since)
		}
	}
}

// TestSignalFlag: every form of output shows only the signals that were asked for.
func TestSignalFlag(t *testing.T) {
	asked := make(chan string, 4)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path + "?" + r.URL.RawQuery
		fmt.Fprint(w, "[]")
	}))
	defer server.Close()
	api, globs := client.Client{API: server.URL}, []string{"SPEED", "WHEEL_*"}
	for name, run := range map[string]func() error{
		"state": func() error { return (&State{Client: api, VID: "anna", Signal: globs}).Run(t.Context()) },
		"state --json": func() error {
			return (&State{Client: api, VID: "anna", Signal: globs, JSON: true}).Run(t.Context())
		},
		"watch": func() error {
			_ = (&Watch{Client: api, VID: "anna", Signal: globs}).Run(t.Context())
			return nil
		},
	} {
		if err := run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := <-asked; !strings.HasSuffix(got, "?signal=SPEED&signal=WHEEL_%2A") {
			t.Errorf("%s: got %s, want both globs in the query", name, got)
		}
	}
}

// TestClock: all commands write times in one form, with date and zone.
func TestClock(t *testing.T) {
	at := time.Date(2026, 11, 30, 18, 6, 13, 250e6, time.UTC)
	local := at.Local()
	if got, want := clock(&at), local.Format("2006-01-02 15:04:05 MST"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := sampleClock(at), local.Format("2006-01-02 15:04:05.000 MST"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := clock(nil); got != "-" {
		t.Errorf("got %s for no time", got)
	}
	var v vehicle
	if err := json.Unmarshal([]byte(`{"last_sample":"2026-11-30T18:06:13.25Z"}`), &v); err != nil || clock(v.Last) != clock(&at) {
		t.Errorf("got %s, %v", clock(v.Last), err)
	}
}
