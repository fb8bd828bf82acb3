package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// ProbeResult is how far a try to connect came.
type ProbeResult struct {
	Endpoint  string        `json:"endpoint"` // host:port
	Addresses []string      `json:"addresses,omitempty"`
	Resolve   time.Duration `json:"resolve_ns"` // each step took so long; zero: it was not reached
	Connect   time.Duration `json:"connect_ns"`
	Handshake time.Duration `json:"handshake_ns"`
	Reply     time.Duration `json:"reply_ns"`
	TLS       string        `json:"tls,omitempty"` // its version
	Guarantee string        `json:"guarantee,omitempty"`
	// Problem says in words why it did not come to the end, and Hint what to look at; empty: it did.
	Problem string `json:"problem,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// probeSuffix makes a client identifier that no agent has.
const probeSuffix = "-check"

// codeClientID is what our cloud answers to a device with a good certificate and another client identifier.
const codeClientID = 0x85

// Probe tries once to connect to an endpoint and says how far it came. Only TLS,
// Device and Timeout of cfg are used. With alone it connects as the device does, for the whole
// answer; else under another client identifier, so that an agent that runs keeps its connection.
func Probe(ctx context.Context, cfg Config, address string, alone bool) ProbeResult {
	d := NewDialer(cfg)
	e, err := ParseEndpoint(address)
	if err == nil && e.TLS && d.cfg.TLS == nil {
		err = fmt.Errorf("endpoint %q: expected TLS settings", address)
	}
	if err != nil {
		return ProbeResult{Endpoint: address, Problem: err.Error()}
	}
	a := ProbeResult{Endpoint: e.Address}
	var o offer
	if err := d.probe(ctx, e, &o, &a, alone); err != nil {
		a.Problem, a.Hint = explain(err, &o, time.Now())
	}
	return a
}

// probe takes the steps of a connection, one after another.
func (d *Dialer) probe(ctx context.Context, e Endpoint, o *offer, a *ProbeResult, alone bool) (err error) {
	lookup, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	began := time.Now()
	if a.Addresses, err = net.DefaultResolver.LookupHost(lookup, e.Host); err != nil {
		return &phaseError{phase: "connect", err: err}
	}
	a.Resolve, began = time.Since(began), time.Now()
	raw, err := d.dialTCP(ctx, e)
	if err != nil {
		return err
	}
	a.Connect, began = time.Since(began), time.Now()
	w := newWire(raw, raw, d.cfg.WriteTimeout)
	if e.TLS {
		conn, err := d.handshake(ctx, e, raw, o)
		if err != nil {
			return err
		}
		a.Handshake, a.TLS, began = time.Since(began), tls.VersionName(conn.ConnectionState().Version), time.Now()
		w = newWire(conn, raw, d.cfg.WriteTimeout)
	}
	defer w.Close()
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer stop()
	if err := raw.SetDeadline(time.Now().Add(d.cfg.Timeout)); err != nil {
		return err
	}
	code, err := d.introduce(w, a, alone)
	a.Reply = time.Since(began)
	if err != nil || code == nil || code.code == codeClientID && !alone {
		return err
	}
	return code
}

// introduce sends CONNECT, waits for the answer and says goodbye. The answer is nil when we are welcome.
func (d *Dialer) introduce(w *wire, a *ProbeResult, alone bool) (*codeError, error) {
	id := string(d.cfg.Device)
	if !alone {
		id += probeSuffix
	}
	connect := packets.NewControlPacket(packets.CONNECT)
	c := connect.Content.(*packets.Connect)
	c.ClientID, c.KeepAlive, c.CleanStart = id, seconds16(d.cfg.Timeout), !alone
	if _, err := connect.WriteTo(w); err != nil {
		return nil, said(w, err)
	}
	p, err := packets.ReadPacket(w)
	if err != nil {
		return nil, said(w, err)
	}
	connack, ok := p.Content.(*packets.Connack)
	if !ok {
		return nil, &phaseError{phase: "mqtt connect", err: errMalformed}
	}
	if connack.ReasonCode >= CodeUnspecified {
		return &codeError{packet: "connack", code: connack.ReasonCode, text: connack.Properties.ReasonString, other: connack.Properties.ServerReference}, nil
	}
	for _, u := range connack.Properties.User {
		if u.Key == guaranteeProperty {
			a.Guarantee = u.Value
		}
	}
	if _, err = packets.NewControlPacket(packets.DISCONNECT).WriteTo(w); err != nil {
		return nil, err
	}
	return nil, suits(connack.Properties)
}

// suits says what in a server's CONNACK would end a connection of the agent's own.
func suits(p *packets.Properties) error {
	switch {
	case p.MaximumQOS != nil && *p.MaximumQOS < 1:
		return &phaseError{phase: "mqtt connect", err: errNoQoS}
	case p.RetainAvailable != nil && *p.RetainAvailable == 0:
		return &phaseError{phase: "mqtt connect", err: errNoRetain}
	}
	return nil
}

// said prefers the wire's own reason of an end.
func said(w *wire, err error) error {
	if why := w.reason(); why != nil {
		err = errors.Join(why, err)
	}
	return &phaseError{phase: "mqtt connect", err: err}
}

// seconds16 is d in whole seconds, at least one.
func seconds16(d time.Duration) uint16 { return uint16(min(max(d/time.Second, 1), 60)) }
