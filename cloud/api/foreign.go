package api

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol/principal"
)

// refuseForeign refuses requests that come by way of a web page: those that name this
// machine by a foreign host name (DNS rebinding), and changes that a page of
// another origin than the allowed ones asks for. Without authentication nothing else would stop them.
func refuseForeign(allowed []string, next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	for _, origin := range allowed {
		_ = origins.AddTrustedOrigin(origin) // New has checked them
	}
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusForbidden, "expected a request of the same origin")
	}))
	next = cors(allowed, origins.Handler(next))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !loopback(host) {
			problem(w, http.StatusForbidden, "expected localhost or a loopback address as host")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// anybody is who sends a request as long as nobody is asked for a name.
func anybody(*http.Request) principal.Principal { return principal.Principal{Kind: principal.Local} }

// permit refuses what the access table does not allow to who sends a request.
func permit(who func(*http.Request) principal.Principal, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verb := access.Change
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			verb = access.Read
		}
		if rule := access.Decide(who(r), verb, r.URL.Path); !rule.Allowed() {
			problem(w, http.StatusForbidden, rule.Reason())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// cors tells browsers that pages of the allowed origins may read answers, and what they
// may ask (https://fetch.spec.whatwg.org/#http-cors-protocol).
func cors(allowed []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if len(allowed) > 0 {
			h.Add("Vary", "Origin")
		}
		origin := r.Header.Get("Origin")
		if !slices.Contains(allowed, origin) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "ETag, Link")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
			h.Set("Access-Control-Allow-Headers", "Content-Type, If-None-Match, Last-Event-ID")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// checkOrigins says which setting is no origin.
func checkOrigins(list []string) error {
	for _, origin := range list {
		if err := http.NewCrossOriginProtection().AddTrustedOrigin(origin); err != nil {
			return fmt.Errorf("origin %.64q: expected scheme://host or scheme://host:port", origin)
		}
	}
	return nil
}

func loopback(host string) bool {
	if len(host) > 2 && host[0] == '[' { // an address without port
		host = host[1 : len(host)-1]
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// problems answers what no route takes as problem+json too: a path, a method, and a
// query that the route would pass over without a word.
func problems(mux *http.ServeMux, known queries) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			if err := known.check(pattern, r.URL.RawQuery); err != nil {
				problem(w, http.StatusBadRequest, err.Error())
				return
			}
			mux.ServeHTTP(w, r)
			return
		}
		answer := &statusOnly{ResponseWriter: w, status: http.StatusNotFound}
		mux.ServeHTTP(answer, r) // finds out whether it is the method
		if answer.status == http.StatusMethodNotAllowed && r.Method == http.MethodOptions {
			w.Header().Set("Allow", w.Header().Get("Allow")+", OPTIONS")
			w.Header().Del("Content-Type")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if answer.status == http.StatusMethodNotAllowed {
			problem(w, answer.status, "expected another method; the header Allow names them")
			return
		}
		problem(w, http.StatusNotFound, "no such route; /openapi.yaml lists them")
	})
}

// statusOnly lets headers through and keeps the status and body back.
type statusOnly struct {
	http.ResponseWriter
	status int
}

func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }

// problem writes an error as RFC 9457 has it.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
}
