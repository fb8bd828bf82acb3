package broker_test

import (
	"crypto/sha256"
	"crypto/x509"
	"sync/atomic"
	"testing"

	"telltale.dev/cloud/access"
	"telltale.dev/cloud/broker"
	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
)

// TestRenewedCertificate: a session that is resumed with another certificate of the same device has the rights of that
// one, whatever became of the one that it was made with.
func TestRenewedCertificate(t *testing.T) {
	var refused atomic.Pointer[[32]byte]
	handler := &cloud{presences: make(chan presenceCall, 10)}
	s := start(t, handler, func(c *broker.Config) {
		c.Identify = func(cert *x509.Certificate) (principal.Principal, error) {
			p, err := identify(cert)
			p.Certificate.Fingerprint = sha256.Sum256(cert.Raw)
			return p, err
		}
		c.Access = func(p principal.Principal, verb access.Verb, object string) *access.Rule {
			if is := refused.Load(); is != nil && *is == p.Certificate.Fingerprint {
				p.Vehicle = "nobody"
			}
			return access.Decide(p, verb, object)
		}
	})
	handler.stage = s
	first, second := newReceiver(s), newReceiver(s)
	fingerprint := func(r *receiver) [32]byte { return sha256.Sum256(r.config.Certificates[0].Certificate[0]) }
	old, renewed := fingerprint(first), fingerprint(second)
	r := first.subscribed(withWill(t, "v", "d", 0))
	refused.Store(&old)
	send(s, numbered(1)).is(broker.Settlement{Outcome: broker.Unreachable})
	_ = r.NetConn().Close()
	if got := handler.want(t, protocol.PresenceLost).client.Certificate.Fingerprint; got != old {
		t.Error("will of the first connection: got another certificate, want its own")
	}
	r, ack := second.join(withWill(t, "v", "d", 0))
	if !ack.SessionPresent {
		t.Fatal("session present: got false, want the session resumed")
	}
	s.Deliver(numbered(2))
	if p := r.message(); string(p.Payload) != "2" {
		t.Errorf("got %q, want 2", p.Payload)
	} else {
		r.acknowledge(p.PacketID)
	}
	f := send(s, numbered(3))
	r.acknowledge(r.message().PacketID)
	f.is(broker.Settlement{Outcome: broker.Acknowledged, Sent: true})
	refused.Store(&renewed)
	send(s, numbered(4)).is(broker.Settlement{Outcome: broker.Unreachable})
	if got := s.Revoke(func(p principal.Principal, _ string) bool { return p.Certificate.Fingerprint == old }); got != 0 {
		t.Errorf("got %d subscriptions of the first certificate, want none", got)
	}
	_ = r.NetConn().Close()
	if got := handler.want(t, protocol.PresenceLost).client.Certificate.Fingerprint; got != renewed {
		t.Error("will of the second connection: got another certificate, want its own")
	}
}
