package provisioning_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/provisioning"
	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
)

const authorityFile = "development-ca.pem"

func openCA(t *testing.T) *provisioning.CA {
	t.Helper()
	ca, err := provisioning.OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestOpenCATwiceIsTheSameAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, err := provisioning.OpenCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := provisioning.OpenCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.CertPEM(), second.CertPEM()) {
		t.Error("the second start made another authority")
	}
	info, err := os.Stat(filepath.Join(dir, authorityFile))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o600); got != want {
		t.Errorf("mode: got %v, want %v", got, want)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files: got %v (%v), want none", left, err)
	}
}

func TestOpenCAAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	texts := make([][]byte, 8)
	for i := range texts {
		group.Go(func() {
			ca, err := provisioning.OpenCA(dir)
			if err != nil {
				t.Error(err)
				return
			}
			texts[i] = ca.CertPEM()
		})
	}
	group.Wait()
	for i := range texts {
		if !bytes.Equal(texts[i], texts[0]) {
			t.Errorf("start %d got another authority than start 0", i)
		}
	}
}

func TestDamagedAuthorityIsReportedAndKept(t *testing.T) {
	dir := t.TempDir()
	if _, err := provisioning.OpenCA(dir); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, authorityFile))
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if _, err := provisioning.OpenCA(other); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(other, authorityFile))
	if err != nil {
		t.Fatal(err)
	}
	block, key := pem.Decode(good)
	certificate := pem.EncodeToMemory(block)
	_, foreignKey := pem.Decode(foreign)
	cases := map[string][]byte{
		"empty":             {},
		"cut in the middle": good[:len(good)/2],
		"key missing":       certificate,
		"certificate after": append(append([]byte{}, key...), certificate...),
		"key of another":    append(append([]byte{}, certificate...), foreignKey...),
		"random":            []byte("no PEM at all"),
		"huge":              bytes.Repeat([]byte{'x'}, 1<<20),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, authorityFile)
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := provisioning.OpenCA(dir)
			if !errors.Is(err, provisioning.ErrDamaged) {
				t.Fatalf("got error %v, want ErrDamaged", err)
			}
			if strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), authorityFile) {
				t.Errorf("error %q: expected the base name of the file without its directory", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, text) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

func TestIssue(t *testing.T) {
	ca := openCA(t)
	device, err := ca.IssueDevice("veh-1", "tcu-a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	operator, err := ca.IssueOperator("anna", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		got  provisioning.Credentials
		want principal.Principal
	}{
		{"device", device, principal.OfDevice("veh-1", "tcu-a")},
		{"operator", operator, principal.OfOperator("anna")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			certificate := parse(t, c.got)
			got, err := provisioning.CertificateHolder(certificate)
			if err != nil || !got.Same(c.want) {
				t.Errorf("holder: got %v, %v, want %v", got, err, c.want)
			}
			if want := (principal.Certificate{Fingerprint: sha256.Sum256(certificate.Raw), NotAfter: certificate.NotAfter.Unix()}); got.Certificate != want {
				t.Errorf("certificate: got %+v, want %+v", got.Certificate, want)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(c.got.CAPEM)
			if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
				t.Errorf("verify: %v", err)
			}
		})
	}
	if got := parse(t, device).Subject.CommonName; got != "tcu-a" {
		t.Errorf("common name: got %q, want tcu-a", got)
	}
}

func parse(t *testing.T, c provisioning.Credentials) *x509.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(c.CertPEM, c.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestIssueRefuses(t *testing.T) {
	ca := openCA(t)
	for _, c := range []struct {
		name     string
		vid, did string
		validity time.Duration
	}{
		{"vehicle with a slash", "a/b", "d", time.Hour},
		{"vehicle with a colon", "a:b", "d", time.Hour},
		{"empty device", "a", "", time.Hour},
		{"device with a wildcard", "a", "+", time.Hour},
		{"no validity", "a", "d", 0},
	} {
		if _, err := ca.IssueDevice(protocol.VehicleID(c.vid), protocol.DeviceID(c.did), c.validity); err == nil {
			t.Errorf("%s: got no error", c.name)
		}
	}
	for _, name := range []string{"", "a:b", "a/b", "ä"} {
		if _, err := ca.IssueOperator(name, time.Hour); !errors.Is(err, provisioning.ErrIdentity) {
			t.Errorf("operator %q: got %v, want ErrIdentity", name, err)
		}
	}
}

func TestCertificateHolderRefuses(t *testing.T) {
	cases := map[string][]string{
		"none":             nil,
		"two":              {"urn:dev:v:d", "urn:ops:anna"},
		"the same twice":   {"urn:dev:v:d", "urn:dev:v:d"},
		"ours and another": {"urn:dev:v:d", "https://example.com/"},
		"another":          {"https://example.com/"},
		"upper case":       {"URN:DEV:v:d"},
		"no device":        {"urn:dev:v"},
		"empty device":     {"urn:dev:v:"},
		"empty vehicle":    {"urn:dev::d"},
		"three parts":      {"urn:dev:v:d:e"},
		"slash":            {"urn:dev:v/up:d"},
		"wildcard":         {"urn:dev:+:d"},
		"escaped":          {"urn:dev:v%2Fup:d"},
		"query":            {"urn:dev:v:d?x=1"},
		"fragment":         {"urn:dev:v:d#x"},
		"empty operator":   {"urn:ops:"},
	}
	for name, uris := range cases {
		certificate := &x509.Certificate{}
		certificate.Subject.CommonName = "tcu-a"
		for _, text := range uris {
			uri, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			certificate.URIs = append(certificate.URIs, uri)
		}
		if got, err := provisioning.CertificateHolder(certificate); !errors.Is(err, provisioning.ErrIdentity) {
			t.Errorf("%s: got %v, %v, want ErrIdentity", name, got, err)
		}
	}
	if _, err := provisioning.CertificateHolder(nil); !errors.Is(err, provisioning.ErrIdentity) {
		t.Errorf("nil: got %v, want ErrIdentity", err)
	}
}

// TestStatusIsAskedOnResumption dials twice with a session cache; the second
// handshake resumes, and is refused because the device was suspended in between.
func TestStatusIsAskedOnResumption(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			ca := openCA(t)
			var suspended atomic.Bool
			var asked atomic.Int32
			ca.Status = func(principal.Principal) error {
				asked.Add(1)
				if suspended.Load() {
					return errors.New("suspended")
				}
				return nil
			}
			address := serve(t, ca)
			config := clientTLS(t, ca, version)
			for i, wantResumed := range []bool{false, true} {
				state, err := dial(address, config)
				if err != nil {
					t.Fatal(err)
				}
				if state.DidResume != wantResumed {
					t.Errorf("dial %d resumed: got %v, want %v", i, state.DidResume, wantResumed)
				}
			}
			if got := asked.Load(); got != 2 {
				t.Errorf("status was asked %d times, want 2", got)
			}
			suspended.Store(true)
			if _, err := dial(address, config); err == nil {
				t.Error("a suspended device resumed its session")
			}
		})
	}
}

// TestCipherSuites: of TLS 1.2 only authenticated encryption is left.
func TestCipherSuites(t *testing.T) {
	ca := openCA(t)
	address := serve(t, ca)
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		config := clientTLS(t, ca, tls.VersionTLS12)
		config.MaxVersion, config.CipherSuites = tls.VersionTLS12, []uint16{suite.ID}
		_, err := dial(address, config)
		want := strings.HasPrefix(suite.Name, "TLS_ECDHE_ECDSA_") && (strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "POLY1305"))
		if (err == nil) != want {
			t.Errorf("%s: got %v, want it accepted: %v", suite.Name, err, want)
		}
	}
}

func TestServerTLSRefusesStrangers(t *testing.T) {
	ca := openCA(t)
	address := serve(t, ca)
	none := clientTLS(t, ca, tls.VersionTLS13)
	none.Certificates = nil
	if _, err := dial(address, none); err == nil {
		t.Error("a client without a certificate was accepted")
	}
	stranger := clientTLS(t, ca, tls.VersionTLS13)
	foreign := clientTLS(t, openCA(t), tls.VersionTLS13)
	stranger.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &foreign.Certificates[0], nil
	}
	if _, err := dial(address, stranger); err == nil {
		t.Error("a client of another authority was accepted")
	}
	old := clientTLS(t, ca, tls.VersionTLS11)
	old.MinVersion = tls.VersionTLS10
	if _, err := dial(address, old); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// serve answers each TLS connection with one byte.
func serve(t *testing.T, ca *provisioning.CA) string {
	t.Helper()
	config, err := ca.ServerTLS([]string{"broker.example", "10.0.0.7"})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte{1})
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().String()
}

func clientTLS(t *testing.T, ca *provisioning.CA, version uint16) *tls.Config {
	t.Helper()
	credentials, err := ca.IssueDevice("v", "d", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(credentials.CertPEM, credentials.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(credentials.CAPEM)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "broker.example",
		MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
}

// dial reads the byte: with TLS 1.3 a refusal comes with the first read.
func dial(address string, config *tls.Config) (tls.ConnectionState, error) {
	raw, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	conn := tls.Client(raw, config)
	defer conn.Close()
	_, err = io.ReadAll(conn)
	return conn.ConnectionState(), err
}
