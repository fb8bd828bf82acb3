package link_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/agent/link"
)

// authority is a certificate authority of the test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
	c := a.sign(template, nil)
	a.cert, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate from the template, self-signed without a parent.
func (a *authority) sign(template *x509.Certificate, parent *authority) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// leaf makes a certificate for 127.0.0.1 and for clients, valid from and until relative to now.
func (a *authority) leaf(from, until time.Duration) tls.Certificate {
	return a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: string(did)}, SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
}

// write saves a certificate and its key as PEM files.
func write(t *testing.T, dir, name string, c tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

const day = 24 * time.Hour

func TestMutualTLS(t *testing.T) {
	ca := newAuthority(t, "ours")
	var resumed atomic.Int32
	s := serve(t, &server{}, &tls.Config{
		Certificates: []tls.Certificate{ca.leaf(-day, day)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool,
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.DidResume {
				resumed.Add(1)
			}
			return nil
		},
	})
	buf := newMemory()
	buf.add(numbered("r", 10, 0)...)
	r := start(t, buf, func(c *link.Config) {
		c.Endpoints = []string{"mqtts://" + s.addr}
		c.TLS = &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.leaf(-day, day)}}
	})
	eventually(t, "acknowledged", func() bool { return buf.left() == 0 })
	s.cut()
	eventually(t, "second connection", func() bool { return s.connected() == 2 && r.Stats().Connected })
	r.stop()
	if n := resumed.Load(); n != 1 {
		t.Errorf("resumed sessions: got %d, want 1: the second connection must cost no signature", n)
	}
}

func TestTLSFailuresSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	ca, foreign := newAuthority(t, "ours"), newAuthority(t, "foreign")
	good := ca.leaf(-day, day)
	for _, c := range []struct {
		name   string
		server tls.Certificate
		auth   tls.ClientAuthType // of the server
		client *tls.Certificate
		min    uint16
		want   []string
	}{
		{name: "no certificate", server: good, auth: tls.RequireAndVerifyClientCert, want: []string{"did not send", "we have none"}},
		{name: "certificate of another authority", server: good, auth: tls.RequireAndVerifyClientCert, client: ptr(foreign.leaf(-day, day)), want: []string{"did not send", "lacks its issuer"}},
		{name: "our certificate has expired", server: good, auth: tls.RequireAndVerifyClientCert, client: ptr(ca.leaf(-2*day, -day)), want: []string{"refused by the server", "first read after the handshake"}},
		{name: "server's certificate has expired", server: ca.leaf(-2*day, -day), client: &good, want: []string{"has expired", "vehicle's clock"}},
		{name: "server's certificate is of tomorrow", server: ca.leaf(day, 2*day), client: &good, want: []string{"not valid yet", "vehicle's clock"}},
		{name: "server of another authority", server: foreign.leaf(-day, day), client: &good, want: []string{"unknown authority"}},
		{name: "no common TLS version", server: good, min: tls.VersionTLS13, client: &good, want: []string{"same TLS versions"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, &server{}, &tls.Config{Certificates: []tls.Certificate{c.server}, ClientAuth: c.auth, ClientCAs: ca.pool, MinVersion: c.min})
			r := start(t, newMemory(), func(cfg *link.Config) {
				cfg.Endpoints = []string{s.addr}
				cfg.TLS = &tls.Config{RootCAs: ca.pool}
				if c.client != nil {
					cfg.TLS.Certificates = []tls.Certificate{*c.client}
				}
				if c.min != 0 {
					cfg.TLS.MaxVersion = c.min - 1
				}
			})
			eventually(t, "five attempts", func() bool { return r.Stats().Connection >= 5 })
			if got := r.log.count("level=WARN"); got != 1 {
				t.Errorf("warnings: got %d, want 1", got)
			}
			for _, text := range c.want {
				if r.log.count(text) == 0 {
					t.Errorf("log: %q is missing", text)
				}
			}
			if r.log.count(string(vid)) > 0 {
				t.Error("the log names the vehicle")
			}
			if got := r.Stats().LastError; got == "" {
				t.Error("stats: the last error is missing")
			}
		})
	}
}

func TestSilentServersTimeOut(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, scheme := range []string{"mqtts://", "mqtt://"} {
		t.Run(scheme, func(t *testing.T) {
			r := start(t, newMemory(), func(c *link.Config) {
				c.Endpoints, c.Timeout = []string{scheme + ln.Addr().String()}, 50*time.Millisecond
				c.TLS = &tls.Config{RootCAs: ca.pool}
			})
			eventually(t, "third attempt", func() bool { return r.Stats().Connection >= 3 })
			if got := r.Stats().LastError; !strings.Contains(got, "no answer in time") {
				t.Errorf("last error: got %q", got)
			}
			began := time.Now()
			r.stop()
			if d := time.Since(began); d > patience {
				t.Errorf("stop took %v", d)
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	valid := func() link.Config {
		return link.Config{Endpoints: []string{"mqtt://h"}, Vehicle: vid, Device: did, Boot: boot, Buffer: newMemory(), Schemas: schemas{}}
	}
	if _, err := link.New(valid()); err != nil {
		t.Fatalf("valid: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*link.Config)
		want   string
	}{
		"no endpoint":       {func(c *link.Config) { c.Endpoints = nil }, "endpoints"},
		"scheme":            {func(c *link.Config) { c.Endpoints = []string{"http://h"} }, `scheme "http"`},
		"path":              {func(c *link.Config) { c.Endpoints = []string{"mqtt://h/x"} }, "host:port"},
		"empty host":        {func(c *link.Config) { c.Endpoints = []string{"mqtt://:1"} }, "host:port"},
		"port":              {func(c *link.Config) { c.Endpoints = []string{"mqtt://h:x"} }, "host:port"},
		"TLS without":       {func(c *link.Config) { c.Endpoints = []string{"h:8883"} }, "TLS settings"},
		"vehicle":           {func(c *link.Config) { c.Vehicle = "a/b" }, "vehicle id"},
		"device":            {func(c *link.Config) { c.Device = "" }, "device id"},
		"boot":              {func(c *link.Config) { c.Boot = [8]byte{} }, "boot id"},
		"buffer":            {func(c *link.Config) { c.Buffer = nil }, "buffer"},
		"keep-alive":        {func(c *link.Config) { c.KeepAlive = 20 * time.Hour }, "keep-alive"},
		"will after expiry": {func(c *link.Config) { c.WillDelay = time.Hour }, "session expiry"},
		"window":            {func(c *link.Config) { c.Window = 1000 }, "window"},
		"back-off":          {func(c *link.Config) { c.BackoffMin, c.BackoffMax = time.Hour, time.Minute }, "back-off"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := valid()
			c.change(&cfg)
			if _, err := link.New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %s", err, c.want)
			}
		})
	}
}
