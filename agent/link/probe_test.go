package link_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/agent/link/session"
)

// TestProbe: each way to fail is told by its cause, and a running agent is never disturbed.
func TestProbe(t *testing.T) {
	t.Parallel()
	ca, foreign := newAuthority(t, "ours"), newAuthority(t, "foreign")
	good := ca.leaf(-day, day)
	mutual := func(c tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{c}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool}
	}
	// picky is as our cloud: a device is called by its device id.
	picky := func(_ int, c *packets.Connect, answer *packets.Connack) {
		if c.ClientID != string(did) {
			answer.ReasonCode = 0x85
		}
		answer.Properties.User = append(answer.Properties.User, packets.User{Key: "guarantee", Value: "stored"})
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // it answers a request that it does not understand in plain text
		if conn, err := web.Accept(); err == nil {
			_, _ = conn.Read(make([]byte, 4<<10))
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	defer web.Close()
	for _, c := range []struct {
		name    string
		server  func(int, *packets.Connect, *packets.Connack)
		tls     *tls.Config
		address string // instead of a server
		client  tls.Certificate
		alone   bool
		problem string // "": none
		hint    string
		tells   func(session.ProbeResult) bool
	}{
		{name: "beside an agent", server: picky, tls: mutual(good), client: good,
			tells: func(a session.ProbeResult) bool { return a.TLS == "TLS 1.3" && a.Handshake > 0 && a.Reply > 0 }},
		{name: "alone", server: picky, tls: mutual(good), client: good, alone: true,
			tells: func(a session.ProbeResult) bool { return a.Guarantee == "stored" }},
		{name: "another broker", tls: mutual(good), client: good, tells: func(a session.ProbeResult) bool { return a.Guarantee == "" && a.Reply > 0 }},
		{name: "no QoS 1", server: func(_ int, _ *packets.Connect, a *packets.Connack) { a.Properties.MaximumQOS = new(byte) }, tls: mutual(good), client: good,
			problem: "the server allows no QoS 1", hint: "must allow QoS 1"},
		{name: "nothing retained", server: func(_ int, _ *packets.Connect, a *packets.Connack) { a.Properties.RetainAvailable = new(byte) }, tls: mutual(good), client: good,
			problem: "the server allows no retained messages", hint: "must allow retained messages"},
		{name: "not registered", server: func(_ int, _ *packets.Connect, a *packets.Connack) { a.ReasonCode = 0x87 }, tls: mutual(good), client: good,
			problem: "server refuses: not authorised", hint: "not registered or not active"},
		{name: "client identifier, alone", server: func(_ int, _ *packets.Connect, a *packets.Connack) { a.ReasonCode = 0x85 }, tls: mutual(good), client: good, alone: true,
			problem: "server refuses: client identifier not valid"},
		{name: "our certificate has expired", tls: mutual(good), client: ca.leaf(-2*day, -day), problem: "our certificate was refused by the server"},
		{name: "our certificate is another authority's", tls: mutual(good), client: foreign.leaf(-day, day), problem: "server wants a certificate that we did not send", hint: "lacks its issuer"},
		{name: "another server", tls: mutual(foreign.leaf(-day, day)), client: good, problem: "server's certificate is from an unknown authority"},
		{name: "no name", address: "no-such-host.invalid:8883", client: good, problem: "server name is not resolved",
			tells: func(a session.ProbeResult) bool { return a.Resolve == 0 && a.Connect == 0 }},
		{name: "nothing listens", address: "127.0.0.1:1", client: good, problem: "connection refused"},
		{name: "not TLS", address: web.Addr().String(), client: good, problem: "server does not speak TLS", hint: "check the endpoint's port"},
		{name: "silent", address: silent.Addr().String(), client: good, problem: "no answer in time",
			tells: func(a session.ProbeResult) bool { return a.Connect > 0 && a.Handshake == 0 }},
		{name: "silent after TCP", address: "mqtt://" + silent.Addr().String(), client: good, problem: "no answer in time",
			tells: func(a session.ProbeResult) bool { return a.Connect > 0 && a.Reply > 0 }},
		{name: "no endpoint", address: "http://x", problem: `endpoint "http://x": scheme "http", expected mqtts or mqtt`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, &server{connack: c.server}, c.tls)
			address := c.address
			if address == "" {
				address = s.addr
			}
			a := session.Probe(t.Context(), session.Config{
				TLS: &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{c.client}}, Device: did, Timeout: 500 * time.Millisecond,
			}, address, c.alone)
			if !strings.HasPrefix(a.Problem, c.problem) || (a.Problem == "") != (c.problem == "") || !strings.Contains(a.Hint, c.hint) {
				t.Errorf("got %+v, want problem %q with hint %q", a, c.problem, c.hint)
			}
			if c.tells != nil && !c.tells(a) {
				t.Errorf("got %+v", a)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, connect := range s.connects {
				if (connect.ClientID == string(did)) != c.alone || connect.WillFlag {
					t.Errorf("client identifier %q, will %v", connect.ClientID, connect.WillFlag)
				}
			}
		})
	}
}
