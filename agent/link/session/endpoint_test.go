package session_test

import (
	"net"
	"strings"
	"testing"

	"telltale.dev/agent/link/session"
)

func TestParseEndpoint(t *testing.T) {
	for text, want := range map[string]session.Endpoint{
		"h":                   {Address: "h:8883", Host: "h", TLS: true},
		"h:1":                 {Address: "h:1", Host: "h", TLS: true},
		"mqtts://a.b/":        {Address: "a.b:8883", Host: "a.b", TLS: true},
		"mqtt://127.0.0.1":    {Address: "127.0.0.1:1883", Host: "127.0.0.1"},
		"tcp://[::1]:1884":    {Address: "[::1]:1884", Host: "::1"},
		"ssl://cloud.example": {Address: "cloud.example:8883", Host: "cloud.example", TLS: true},
	} {
		if got, err := session.ParseEndpoint(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"http://h": "scheme", "mqtt://h/x": "host:port", "mqtt://:1": "host:port", "h:x": "host:port", "h:0": "port", "h:70000": "port", "mqtt://u:p@h": "host:port",
	} {
		if _, err := session.ParseEndpoint(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error about %s", text, err, want)
		}
	}
}

// FuzzEndpoint: what is taken as an endpoint can be dialled.
func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"localhost:8883", "mqtts://[::1]:8883", "mqtt://h", "ssl://a.b/", "://", "mqtt://u:p@h", "h:99999", "[::1", "mqtt://h?x", "mqtt://h#f", "h:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := session.ParseEndpoint(s)
		if err != nil {
			return
		}
		host, port, err := net.SplitHostPort(e.Address)
		if err != nil || host == "" || host != e.Host {
			t.Fatalf("%q was taken: host %q, port %q: %v", s, host, port, err)
		}
		if n, err := net.LookupPort("tcp", port); err != nil || n < 1 {
			t.Errorf("%q was taken with port %q", s, port)
		}
	})
}
