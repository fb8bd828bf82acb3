// Package keystoretest is the suite that every driver of keystore.Signer
// passes, and makes the certificates that tests of drivers need.
package keystoretest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"telltale.dev/hal/keystore"
)

// CA issues certificates for tests.
type CA struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewCA makes a self-signed authority.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	ca := &CA{key: newKey(t)}
	ca.Certificate = ca.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(2, 0, 0),
	}, ca.key.Public())
	return ca
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (ca *CA) sign(t testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent := ca.Certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Device issues a client certificate for urn:dev:{vid}:{did} that is valid from start to end.
func (ca *CA) Device(t testing.TB, urn string, public crypto.PublicKey, start, end time.Time) *x509.Certificate {
	t.Helper()
	name, err := url.Parse(urn)
	if err != nil {
		t.Fatal(err)
	}
	return ca.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "device"}, URIs: []*url.URL{name}, NotBefore: start, NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, public)
}

// Server gives a certificate with key for a server of that name.
func (ca *CA) Server(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	c := ca.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
}

// Pool makes a pool of the authority alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	return pool
}

// Open gives a signer whose certificate ca has issued. It cleans up by t.Cleanup.
type Open func(t *testing.T, ca *CA) keystore.Signer

// Run runs the suite.
func Run(t *testing.T, open Open) {
	ca := NewCA(t, "suite")
	t.Run("describes itself", func(t *testing.T) {
		s := open(t, ca)
		if s.Protection() == "" || len(s.Chain()) == 0 {
			t.Fatalf("got protection %q and %d certificates", s.Protection(), len(s.Chain()))
		}
		if key, ok := s.Public().(*ecdsa.PublicKey); !ok || !key.Equal(s.Chain()[0].PublicKey) {
			t.Errorf("the first certificate is not that of the key")
		}
	})
	t.Run("signs from many goroutines", func(t *testing.T) { signs(t, open(t, ca)) })
	t.Run("speaks TLS", func(t *testing.T) { speaks(t, open(t, ca), ca) })
	t.Run("tells of a server that wants others", func(t *testing.T) {
		stranger := NewCA(t, "stranger")
		_, err := handshake(t, open(t, ca), ca, stranger.Pool())
		if err == nil {
			t.Errorf("got no error")
		}
		t.Log(err)
	})
}

func signs(t *testing.T, s keystore.Signer) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			digest := sha256.Sum256([]byte{byte(i)})
			for _, opts := range []crypto.SignerOpts{crypto.SHA256, nil} {
				signature, err := s.Sign(rand.Reader, digest[:], opts)
				if err != nil || !ecdsa.VerifyASN1(s.Public().(*ecdsa.PublicKey), digest[:], signature) {
					t.Errorf("options %v: got %v or a signature that does not verify", opts, err)
				}
			}
		})
	}
	all.Wait()
}

// speaks wants mutual TLS 1.3 with the signer's certificate.
func speaks(t *testing.T, s keystore.Signer, ca *CA) {
	state, err := handshake(t, s, ca, ca.Pool())
	if err != nil {
		t.Fatal(err)
	}
	if state.Version != tls.VersionTLS13 || len(state.PeerCertificates) != 1 || !state.PeerCertificates[0].Equal(s.Chain()[0]) {
		t.Errorf("the server saw version %x and %d certificates", state.Version, len(state.PeerCertificates))
	}
}

// handshake connects once to a server that demands a certificate of accepted, and gives what the server saw.
func handshake(t *testing.T, s keystore.Signer, ca *CA, accepted *x509.CertPool) (tls.ConnectionState, error) {
	t.Helper()
	client, err := keystore.TLSConfig(s, ca.Pool(), "cloud.test")
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	server := tls.Server(far, &tls.Config{
		Certificates: []tls.Certificate{ca.Server(t, "cloud.test")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: accepted,
		SessionTicketsDisabled: true, // net.Pipe has no buffer for the tickets
	})
	served := make(chan error, 1)
	go func() {
		err := server.HandshakeContext(ctx)
		if err == nil {
			_, err = io.WriteString(server, "welcome")
		}
		far.Close()
		served <- err
	}()
	conn := tls.Client(near, client)
	err = conn.HandshakeContext(ctx)
	if err == nil { // a refused certificate shows only here
		_, err = io.ReadFull(conn, make([]byte, 7))
	}
	near.Close()
	return server.ConnectionState(), errors.Join(err, <-served)
}
