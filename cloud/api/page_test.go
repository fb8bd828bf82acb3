package api_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// pages follows the links from a path and gives the entries of each page.
func pages[T any](s *stage, path string) (list [][]T) {
	s.t.Helper()
	for path != "" && len(list) < 100 {
		resp, body := s.ask("GET", path, nil)
		var entries []T
		if err := json.Unmarshal([]byte(body), &entries); resp.StatusCode != 200 || err != nil {
			s.t.Fatalf("%s: got %d %s", path, resp.StatusCode, body)
		}
		list = append(list, entries)
		link := resp.Header.Get("Link")
		path, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if link != "" && !strings.HasSuffix(link, `>; rel="next"`) {
			s.t.Errorf("got link %s", link)
		}
	}
	return list
}

func TestPages(t *testing.T) {
	s := start(t)
	s.more = 24
	type entry struct{ VID, Signal string }
	for _, c := range []struct {
		path         string
		count, pages int
	}{
		{"/v1/vehicles", 25, 1}, {"/v1/vehicles?limit=0", 25, 1}, {"/v1/vehicles?limit=1", 25, 25}, {"/v1/vehicles?limit=10", 25, 3}, {"/v1/vehicles?limit=25", 25, 1},
	} {
		got := pages[entry](s, c.path)
		seen := map[entry]bool{}
		n := 0
		for _, p := range got {
			for _, e := range p {
				seen[e] = true
				n++
			}
		}
		if n != c.count || len(got) != c.pages || c.count > 1 && len(seen) != n {
			t.Errorf("%s: got %d entries on %d pages, want %d on %d, each once", c.path, n, len(got), c.count, c.pages)
		}
	}
	for _, path := range []string{"/v1/vehicles?cursor=!", "/v1/vehicles/car1/signals?cursor=!"} {
		if resp, body := s.ask("GET", path, nil); resp.StatusCode != 400 || !strings.Contains(body, "cursor") {
			t.Errorf("%s: got %d %s, want 400", path, resp.StatusCode, body)
		}
	}
}

// TestShrink: answers come with gzip to who takes it, and not again to who has them.
func TestShrink(t *testing.T) {
	s := start(t)
	for _, vehicles := range []int{0, 100, 10_000} { // as it is, with gzip, and too large to be held back
		s.more = vehicles
		_, plain := s.ask("GET", "/v1/vehicles", func(r *http.Request) { r.Header.Set("Accept-Encoding", "identity") })
		resp, body := s.ask("GET", "/v1/vehicles", func(r *http.Request) { r.Header.Set("Accept-Encoding", "br, gzip;q=0.5") })
		if zipped := resp.Header.Get("Content-Encoding") == "gzip"; zipped != (vehicles > 0) {
			t.Errorf("%d vehicles: got Content-Encoding %q", vehicles, resp.Header.Get("Content-Encoding"))
		} else if zipped {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(z)
			if err != nil || len(body) >= len(text) {
				t.Errorf("%d vehicles: got %v, %d bytes for %d", vehicles, err, len(body), len(text))
			}
			body = string(text)
		}
		if body != plain {
			t.Errorf("%d vehicles: got another answer with gzip", vehicles)
		}
		tag := resp.Header.Get("ETag")
		if vehicles == 10_000 {
			continue
		}
		for match, status := range map[string]int{tag: 304, `"x", ` + tag: 304, "*": 304, `W/"x"`: 200} {
			resp, body := s.ask("GET", "/v1/vehicles", func(r *http.Request) { r.Header.Set("If-None-Match", match) })
			if resp.StatusCode != status || status == 304 && body != "" || tag == "" {
				t.Errorf("%d vehicles, %s: got %d, want %d", vehicles, match, resp.StatusCode, status)
			}
		}
	}
	for accept, want := range map[string]bool{"": false, "gzip": true, "gzip;q=0": false, "gzip; q=0.0": false, "*": true, "deflate": false, "GZIP ; q=1": true} {
		resp, _ := s.ask("GET", "/openapi.json", func(r *http.Request) { r.Header.Set("Accept-Encoding", accept) })
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("%q: got gzip %v, want %v", accept, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	s := start(t)
	resp, _ := s.ask("OPTIONS", "/v1/vehicles/car1/suspend", nil)
	if allow := resp.Header.Get("Allow"); resp.StatusCode != 204 || !strings.Contains(allow, "POST") || !strings.Contains(allow, "OPTIONS") {
		t.Errorf("got %d and %q, want what the route allows", resp.StatusCode, allow)
	}
	if resp, _ := s.ask("OPTIONS", "/v1/nothing", nil); resp.StatusCode != 404 {
		t.Errorf("got %d, want 404", resp.StatusCode)
	}
}

// TestCORS: no web page may read answers, but those of the origins in the settings.
func TestCORS(t *testing.T) {
	for _, c := range []struct {
		origins []string
		origin  string
		allowed bool
	}{
		{nil, "https://ops.example", false}, {[]string{"https://ops.example"}, "https://ops.example", true},
		{[]string{"https://ops.example"}, "https://evil.example", false}, {[]string{"https://ops.example"}, "http://ops.example", false},
	} {
		s := startFor(t, c.origins...)
		from := func(r *http.Request) { r.Header.Set("Origin", c.origin); r.Header.Set("Sec-Fetch-Site", "cross-site") }
		resp, _ := s.ask("GET", "/v1/vehicles", from)
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" != c.allowed || c.allowed && got != c.origin {
			t.Errorf("%+v: got %q", c, got)
		}
		resp, _ = s.ask("OPTIONS", "/v1/vehicles/car1/suspend", func(r *http.Request) { from(r); r.Header.Set("Access-Control-Request-Method", "POST") })
		if got := resp.Header.Get("Access-Control-Allow-Methods"); strings.Contains(got, "POST") != c.allowed {
			t.Errorf("%+v: preflight: got %q", c, got)
		}
		want := 403
		if c.allowed {
			want = 204
		}
		if resp, _ = s.ask("POST", "/v1/vehicles/car1/suspend", from); resp.StatusCode != want {
			t.Errorf("%+v: got %d, want %d", c, resp.StatusCode, want)
		}
		s.stop()
	}
}
