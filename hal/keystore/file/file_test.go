package file_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/keystore"
	"telltale.dev/hal/keystore/file"
	"telltale.dev/hal/keystore/keystoretest"
)

// files is a folder of PEM files.
type files struct {
	t   testing.TB
	dir string
}

func newFiles(t testing.TB) files { return files{t, t.TempDir()} }

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

func (f files) write(name string, blocks ...*pem.Block) string {
	f.t.Helper()
	var text []byte
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(b)...)
	}
	if err := os.WriteFile(f.path(name), text, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return f.path(name)
}

func certificate(c *x509.Certificate) *pem.Block {
	return &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}
}

func key(t testing.TB) (*ecdsa.PrivateKey, *pem.Block) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k, pkcs8(t, k)
}

func pkcs8(t testing.TB, k crypto.Signer) *pem.Block {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return &pem.Block{Type: "PRIVATE KEY", Bytes: der}
}

func day(n int) time.Time { return time.Now().AddDate(0, 0, n) }

// device writes a complete set of files.
func device(t testing.TB, ca *keystoretest.CA) (file.Config, files) {
	t.Helper()
	f := newFiles(t)
	k, block := key(t)
	return file.Config{
		Cert: f.write("t1.crt", certificate(ca.Device(t, "urn:dev:v1:t1", k.Public(), day(-1), day(1)))),
		Key:  f.write("t1.key", block),
		CA:   f.write("ca.crt", certificate(ca.Certificate)),
	}, f
}

func TestSuite(t *testing.T) {
	keystoretest.Run(t, func(t *testing.T, ca *keystoretest.CA) keystore.Signer {
		cfg, _ := device(t, ca)
		s, err := file.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if !s.Roots().Equal(ca.Pool()) || s.Protection() != "NOT-HARDWARE-PROTECTED" {
			t.Errorf("got other roots, or protection %s", s.Protection())
		}
		return s
	})
}

func TestKeyForms(t *testing.T) {
	ca := keystoretest.NewCA(t, "ca")
	ec, ecBlock := key(t)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		public crypto.PublicKey
		blocks []*pem.Block
	}{
		{"pkcs8", ec.Public(), []*pem.Block{ecBlock}},
		{"sec1 with parameters", ec.Public(), []*pem.Block{{Type: "EC PARAMETERS", Bytes: []byte{6, 0}}, {Type: "EC PRIVATE KEY", Bytes: sec1}}},
		{"pkcs1", r.Public(), []*pem.Block{{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(r)}}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			f := newFiles(t)
			s, err := file.Open(file.Config{
				Cert: f.write("c", certificate(ca.Device(t, "urn:dev:v:d", c.public, day(-1), day(1))), certificate(ca.Certificate)),
				Key:  f.write("k", c.blocks...),
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Chain()) != 2 || s.Roots() != nil {
				t.Errorf("got %d certificates, want 2; roots %v, want nil", len(s.Chain()), s.Roots())
			}
			digest := make([]byte, 32)
			if _, err := s.Sign(rand.Reader, digest, crypto.SHA256); err != nil {
				t.Error(err)
			}
			if _, err := s.Sign(rand.Reader, digest, nil); (err != nil) != (c.name == "pkcs1") {
				t.Errorf("nil options: got %v", err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	ca := keystoretest.NewCA(t, "ca")
	_, other := key(t)
	tests := []struct {
		name   string
		change func(cfg *file.Config, f files)
		want   string
		is     error
	}{
		{"no certificate file", func(cfg *file.Config, f files) { cfg.Cert = f.path("none") }, "none: no such file", os.ErrNotExist},
		{"no key file", func(cfg *file.Config, f files) { cfg.Key = f.path("none") }, "none: no such file", os.ErrNotExist},
		{"no CA file", func(cfg *file.Config, f files) { cfg.CA = f.path("none") }, "none: no such file", os.ErrNotExist},
		{"folder", func(cfg *file.Config, f files) { cfg.Cert = f.dir }, "want a file", nil},
		{"other key", func(cfg *file.Config, f files) { cfg.Key = f.write("x.key", other) }, "x.key is not the key of t1.crt", file.ErrMismatch},
		{"chain upside down", func(cfg *file.Config, f files) {
			own, err := os.ReadFile(cfg.Cert)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(own)
			cfg.Cert = f.write("x.crt", certificate(ca.Certificate), block)
		}, "first, before those of its issuers", file.ErrMismatch},
		{"key instead of certificate", func(cfg *file.Config, _ files) { cfg.Cert = cfg.Key }, "t1.key: want certificates only, found PRIVATE KEY", nil},
		{"certificate instead of key", func(cfg *file.Config, _ files) { cfg.Key = cfg.Cert }, "t1.crt: want a private key, found CERTIFICATE", nil},
		{"encrypted key", func(cfg *file.Config, f files) {
			cfg.Key = f.write("x.key", &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
		}, "is encrypted", nil},
		{"damaged key", func(cfg *file.Config, f files) {
			cfg.Key = f.write("x.key", &pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})
		}, "x.key: the private key is damaged", nil},
		{"damaged certificate", func(cfg *file.Config, f files) {
			cfg.CA = f.write("x.crt", certificate(ca.Certificate), &pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}})
		}, "x.crt: certificate 2:", nil},
		{"empty", func(cfg *file.Config, f files) { cfg.CA = f.write("x.crt") }, "x.crt: want certificates as PEM text", nil},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			cfg, f := device(t, ca)
			c.change(&cfg, f)
			_, err := file.Open(cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Fatalf("got %v, want %q (%v)", err, c.want, c.is)
			}
			if strings.Contains(err.Error(), f.dir+"/") {
				t.Errorf("%v names a folder of this machine", err)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	ca := keystoretest.NewCA(t, "ca")
	cfg, _ := device(t, ca)
	var log bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := file.Open(cfg); err != nil || log.Len() > 0 {
		t.Errorf("got %v and %q, want nothing", err, log.String())
	}
	if err := os.Chmod(cfg.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Now, cfg.Exposed = day(-5), true
	if _, err := file.Open(cfg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"others on this machine can read", "t1.key", "-rw-r--r--", "not valid yet"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("got %s, want %q", log.String(), want)
		}
	}
}

// TestExpired: the store opens, loudly; who wants a valid certificate is told.
func TestExpired(t *testing.T) {
	cfg, _ := device(t, keystoretest.NewCA(t, "ca"))
	var log bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Now = day(3)
	s, err := file.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"level=ERROR", "certificate has expired", "t1.crt", "not_after=", "clock="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("got %s, want %q", log.String(), want)
		}
	}
	if err := s.Valid(day(3)); !errors.Is(err, file.ErrExpired) || !strings.HasPrefix(err.Error(), "t1.crt: certificate has expired on 20") {
		t.Errorf("got %v, want ErrExpired", err)
	}
	if err := s.Valid(day(0)); err != nil {
		t.Errorf("today: got %v", err)
	}
}

func TestNoCertificate(t *testing.T) {
	if _, err := keystore.TLSConfig(&file.Store{}, nil, "x"); err == nil {
		t.Error("got no error for a signer without certificate")
	}
}

// TestExposed: a key that every user can read or write is refused, unless that is allowed; its group may read it.
func TestExposed(t *testing.T) {
	cfg, _ := device(t, keystoretest.NewCA(t, "ca"))
	for mode, refused := range map[os.FileMode]bool{
		0o600: false, 0o400: false, 0o640: false, 0o440: false, 0o660: false, 0o601: false,
		0o644: true, 0o604: true, 0o602: true, 0o666: true, 0o777: true,
	} {
		if err := os.Chmod(cfg.Key, mode); err != nil {
			t.Fatal(err)
		}
		cfg.Exposed = false
		_, err := file.Open(cfg)
		if got := errors.Is(err, keystore.ErrExposed); got != refused || err != nil && !refused {
			t.Errorf("mode %o: got %v, want refused: %v", mode, err, refused)
		}
		if refused {
			for _, want := range []string{"t1.key: ", fmt.Sprintf("found 0%o", mode), "chmod", "0600"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("mode %o: got %v, want %q in it", mode, err, want)
				}
			}
		}
		cfg.Exposed = true
		if _, err := file.Open(cfg); err != nil {
			t.Errorf("mode %o, allowed: %v", mode, err)
		}
	}
}
