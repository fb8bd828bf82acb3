package session

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Endpoint is one server.
type Endpoint struct {
	Address string // host:port
	Host    string
	TLS     bool
}

// ParseEndpoint reads host:port or mqtts://host[:8883], which are over TLS, or mqtt://host[:1883]. The error names
// the endpoint and what was expected.
func ParseEndpoint(s string) (Endpoint, error) {
	e := Endpoint{TLS: true}
	port, rest := "8883", s
	if scheme, after, ok := strings.Cut(s, "://"); ok {
		switch scheme {
		case "mqtts", "ssl", "tls":
		case "mqtt", "tcp":
			e.TLS, port = false, "1883"
		default:
			return e, fmt.Errorf("endpoint %q: scheme %q, expected mqtts or mqtt", s, scheme)
		}
		rest = strings.TrimSuffix(after, "/")
	}
	u, err := url.Parse("//" + rest)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return e, fmt.Errorf("endpoint %q: expected host:port or mqtts://host:port", s)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return e, fmt.Errorf("endpoint %q: port %q, expected 1 to 65535", s, port)
	}
	e.Host = u.Hostname()
	e.Address = net.JoinHostPort(e.Host, port)
	if _, _, err := net.SplitHostPort(e.Address); err != nil {
		return e, fmt.Errorf("endpoint %q: expected host:port or mqtts://host:port", s)
	}
	return e, nil
}
