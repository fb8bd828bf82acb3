package session

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// offer records what became of our certificate in a handshake. The server's
// refusal comes only with the first read after it (TLS 1.3 lets the client finish first).
type offer struct {
	mu    sync.Mutex // guards what follows
	asked bool       // the server asked for a certificate
	sent  bool       // we had one that it says it would accept
	none  bool       // we have no certificate at all
}

func (o *offer) note(sent, none bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked, o.sent, o.none = true, sent, none
}

// withheld says why we sent no certificate although the server asked for one; "" when we did.
func (o *offer) withheld() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !o.asked || o.sent:
		return ""
	case o.none:
		return "the server asks for a certificate and we have none"
	}
	return "our certificate was not sent, since the server's list of certificate authorities lacks its issuer"
}

// dial opens the connection: TCP, then TLS where the endpoint wants it. Each has its time-out.
func (d *Dialer) dial(ctx context.Context, e Endpoint, o *offer) (*wire, error) {
	raw, err := d.dialTCP(ctx, e)
	if err != nil {
		return nil, err
	}
	if !e.TLS {
		return newWire(raw, raw, d.cfg.WriteTimeout), nil
	}
	conn, err := d.handshake(ctx, e, raw, o)
	if err != nil {
		return nil, err
	}
	return newWire(conn, raw, d.cfg.WriteTimeout), nil
}

func (d *Dialer) dialTCP(ctx context.Context, e Endpoint) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.cfg.Timeout, KeepAlive: -1} // MQTT has its own
	raw, err := dialer.DialContext(ctx, "tcp", e.Address)
	if err != nil {
		return nil, &phaseError{phase: "connect", err: err}
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // the kernel's own size does, too
	}
	return raw, nil
}

// handshake makes TLS of raw, which it closes when that fails.
func (d *Dialer) handshake(ctx context.Context, e Endpoint, raw net.Conn, o *offer) (*tls.Conn, error) {
	conn := tls.Client(raw, d.tlsConfig(e, o))
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, &phaseError{phase: "tls handshake", err: err}
	}
	return conn, nil
}

// tlsConfig is Config.TLS for one attempt. Go sends no certificate, without a
// word, when the server's list of authorities lacks ours; so we choose ourselves and note it.
func (d *Dialer) tlsConfig(e Endpoint, o *offer) *tls.Config {
	cfg := d.cfg.TLS.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = e.Host
	}
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = d.tickets // a resumed session needs no signature of the device's key
	}
	choose := cfg.GetClientCertificate
	cfg.GetClientCertificate = func(cri *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if choose != nil {
			c, err := choose(cri)
			sent := err == nil && c != nil && len(c.Certificate) > 0 && cri.SupportsCertificate(c) == nil
			o.note(sent, err == nil && (c == nil || len(c.Certificate) == 0))
			if err == nil && c != nil && !sent {
				return &tls.Certificate{}, nil
			}
			return c, err
		}
		for i := range cfg.Certificates {
			if cri.SupportsCertificate(&cfg.Certificates[i]) == nil {
				o.note(true, false)
				return &cfg.Certificates[i], nil
			}
		}
		o.note(false, len(cfg.Certificates) == 0)
		return &tls.Certificate{}, nil
	}
	return cfg
}

// lasting gives a context that outlives ctx by grace, so that what is under way
// when ctx ends can be brought to its proper end.
func lasting(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	long, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var timer *time.Timer
	var mu sync.Mutex // guards timer
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		timer = time.AfterFunc(grace, cancel)
	})
	return long, func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		if timer != nil {
			timer.Stop()
		}
		cancel()
	}
}

func (o *offer) wasSent() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}
