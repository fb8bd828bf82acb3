package api_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestCampaignRoutes: what a campaign's path answers to each method.
func TestCampaignRoutes(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		method, id, body string
		broken           error
		status           int
		has              string
	}{
		{"GET", "c", "", nil, 200, `"document":"kind: Campaign\n"`},
		{"GET", "x", "", nil, 404, "no campaign"},
		{"GET", "a.b", "", nil, 422, "pattern"},
		{"PUT", "c", "good", nil, 200, `"revision":3`},
		{"PUT", "c", "old", nil, 409, "STALE_REVISION: 3 runs"},
		{"PUT", "c", strings.Repeat("x", 64<<10+1), nil, 413, ""},
		{"PUT", "a.b", "good", nil, 422, "pattern"},
		{"PUT", "c", "good", errors.New("disk"), 503, "campaign not stored"},
		{"DELETE", "c", "", nil, 204, ""},
		{"DELETE", "x", "", nil, 404, "no campaign"},
		{"DELETE", "c", "", errors.New("disk"), 503, "campaign not removed"},
	} {
		s.broken = c.broken
		resp, body := s.ask(c.method, "/v1/campaigns/"+c.id, func(r *http.Request) {
			if c.body != "" {
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(c.body)), int64(len(c.body))
				r.Header.Set("Content-Type", "application/yaml")
			}
		})
		if resp.StatusCode != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%s %s of %d bytes: got %d %s, want %d with %q", c.method, c.id, len(c.body), resp.StatusCode, body, c.status, c.has)
		}
	}
}
