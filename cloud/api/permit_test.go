package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"telltale.dev/cloud/api"
	"telltale.dev/protocol/principal"
)

// TestPermit asks each route for each kind of principal: whoever is on this machine may use all of them, and
// who is named by a certificate of vehicles or operators none, since no rule says so yet.
func TestPermit(t *testing.T) {
	kinds := map[string]principal.Principal{
		"local": api.Anybody(nil), "device": principal.OfDevice("v", "d"), "operator": principal.OfOperator("anna"),
		"service": {Kind: principal.Service, Name: "weather"}, "nobody": {},
	}
	for name, who := range kinds {
		reached := false
		handler := api.Permit(func(*http.Request) principal.Principal { return who }, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
		for _, pattern := range append(api.Patterns((&rooms{}).Routes), "HEAD /v1/vehicles", "OPTIONS /v1/vehicles") {
			method, path, ok := strings.Cut(pattern, " ")
			if !ok {
				method, path = http.MethodGet, pattern
			}
			reached = false
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(method, strings.NewReplacer("{", "", "}", "").Replace(path), nil))
			if want := name == "local"; reached != want || !want && (w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "not for this client")) {
				t.Errorf("%s: %s: reached %v with %d %s", name, pattern, reached, w.Code, w.Body)
			}
		}
	}
}
