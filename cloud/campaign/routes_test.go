package campaign_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2/humatest"
)

// TestRoutes: what a campaign's path answers to each method.
func TestRoutes(t *testing.T) {
	s := start(t)
	_, api := humatest.New(t)
	s.Routes(api)
	s.push("c", doc("c", 3, ""))
	secret := errors.New("secret cause")
	for _, c := range []struct {
		method, id, body string
		broken           error
		status           int
		has              string
	}{
		{"GET", "c", "", nil, 200, `"document":"apiVersion: campaigns.v1\n`},
		{"GET", "x", "", nil, 404, "no campaign"},
		{"GET", "a.b", "", nil, 422, "pattern"},
		{"PUT", "c", doc("c", 4, ""), nil, 200, `"revision":4`},
		{"PUT", "c", doc("c", 2, ""), nil, 409, "STALE_REVISION: "},
		{"PUT", "c", "nonsense: [", nil, 422, ": "},
		{"PUT", "c", strings.Repeat("x", 64<<10+1), nil, 413, ""},
		{"PUT", "a.b", doc("c", 4, ""), nil, 422, "pattern"},
		{"PUT", "c", doc("c", 5, ""), secret, 503, "campaign not stored"},
		{"DELETE", "c", "", secret, 503, "campaign not removed"},
		{"DELETE", "x", "", nil, 404, "no campaign"},
		{"DELETE", "c", "", nil, 204, ""},
		{"GET", "c", "", nil, 404, "no campaign"},
		{"PUT", "d", removal("d", 1), nil, 200, `"summary":"removed"`},
	} {
		s.store.fail = c.broken
		resp := api.Do(c.method, "/v1/campaigns/"+c.id, "Content-Type: application/yaml", strings.NewReader(c.body))
		if resp.Code != c.status || !strings.Contains(resp.Body.String(), c.has) || strings.Contains(resp.Body.String(), "secret") {
			t.Errorf("%s %s of %d bytes: got %d %s, want %d with %q", c.method, c.id, len(c.body), resp.Code, resp.Body, c.status, c.has)
		}
	}
	if n := strings.Count(s.log.String(), "secret cause"); n != 2 {
		t.Errorf("got the cause %d times in the log, want 2", n)
	}
	s.push("c", doc("c", 9, ""))
	s.push("b", doc("b", 1, ""))
	resp := api.Get("/v1/campaigns?limit=1")
	if body, link := resp.Body.String(), resp.Header().Get("Link"); resp.Code != http.StatusOK || !strings.Contains(body, `"id":"b"`) || strings.Contains(body, `"id":"c"`) || link == "" {
		t.Errorf("got %d %s and the link %q, want b, and c on the next page", resp.Code, body, link)
	}
}
