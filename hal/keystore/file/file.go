// Package file keeps the device's key in a PEM file. Whoever can read the file
// has the key: it is for development and tests, and says so in Protection.
package file

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/hal/keystore"
)

// maxFile bounds the size of each file in bytes.
const maxFile = 1 << 20

// Conditions that callers may branch on.
var (
	// ErrMismatch says that key and certificate do not belong together.
	ErrMismatch = errors.New("key and certificate do not belong together")
	// ErrExpired says that the certificate's time is over.
	ErrExpired = errors.New("certificate has expired")
)

// Config names the files.
type Config struct {
	Cert string // PEM: the device's certificate, then those of its issuers
	Key  string // PEM: its private key, PKCS #8, SEC 1 or PKCS #1, not encrypted
	CA   string // PEM: whom to trust as server. Empty: the system's list
	// Now is the time that certificates are judged by. Zero: the system's.
	Now time.Time
	// Exposed takes a key that every user of the machine can read or write, with a warning; otherwise it is refused.
	Exposed bool
	// Log hears warnings: a key that others can read, a certificate whose time is over or has not begun. May be nil.
	Log *slog.Logger
}

// Store is a key with its certificate, read once by Open.
type Store struct {
	key   crypto.Signer
	chain []*x509.Certificate
	roots *x509.CertPool
	name  string // of the certificate's file
}

var _ keystore.Signer = (*Store)(nil)

// Open reads the files. The error names the file (without its folder) and what
// was expected. A certificate that has expired or is not valid yet is only
// warned of: the vehicle's clock may be wrong, and what it collects meanwhile is
// kept until the certificate is renewed. Whoever wants none that has expired asks Valid.
// The error wraps keystore.ErrExposed for a key that every user can read; its group may, as may that of the agent.
func Open(cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now.IsZero() {
		cfg.Now = time.Now()
	}
	s := &Store{name: filepath.Base(cfg.Cert)}
	var err error
	if s.chain, err = certificates(cfg.Cert); err != nil {
		return nil, err
	}
	if s.key, err = privateKey(cfg); err != nil {
		return nil, err
	}
	if err := s.check(cfg); err != nil {
		return nil, err
	}
	if cfg.CA != "" {
		trusted, err := certificates(cfg.CA)
		if err != nil {
			return nil, err
		}
		s.roots = x509.NewCertPool()
		for _, c := range trusted {
			s.roots.AddCert(c)
		}
	}
	return s, nil
}

// check compares key, certificate and time.
func (s *Store) check(cfg Config) error {
	cert, key := filepath.Base(cfg.Cert), filepath.Base(cfg.Key)
	own, ok := s.chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !own.Equal(s.key.Public()) {
		for _, c := range s.chain[1:] {
			if p, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && p.Equal(s.key.Public()) {
				return fmt.Errorf("%s: want the certificate of %s first, before those of its issuers: %w", cert, key, ErrMismatch)
			}
		}
		return fmt.Errorf("%s is not the key of %s: %w", key, cert, ErrMismatch)
	}
	if end := s.chain[0].NotAfter; cfg.Now.After(end) {
		cfg.Log.Error("certificate has expired, no server will take it; renew it, or is the clock wrong?",
			"file", cert, "not_after", end.UTC(), "clock", cfg.Now.UTC())
	}
	if start := s.chain[0].NotBefore; cfg.Now.Before(start) {
		cfg.Log.Warn("certificate is not valid yet; is the clock right?", "file", cert, "not_before", start.UTC(), "clock", cfg.Now.UTC())
	}
	return nil
}

// Valid returns an error that wraps ErrExpired when the certificate's time is over.
func (s *Store) Valid(now time.Time) error {
	if end := s.chain[0].NotAfter; now.After(end) {
		return fmt.Errorf("%s: %w on %s", s.name, ErrExpired, end.UTC().Format(time.DateOnly))
	}
	return nil
}

// Public implements crypto.Signer.
func (s *Store) Public() crypto.PublicKey { return s.key.Public() }

// Sign implements crypto.Signer.
func (s *Store) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil {
		if _, ok := s.key.(*rsa.PrivateKey); ok {
			return nil, errors.New("keystore: an RSA key needs to be told the hash")
		}
		opts = crypto.Hash(0)
	}
	return s.key.Sign(rand, digest, opts)
}

// Chain implements keystore.Signer.
func (s *Store) Chain() []*x509.Certificate { return s.chain }

// Protection implements keystore.Signer.
func (s *Store) Protection() string { return keystore.NotHardwareProtected }

// Roots gives whom to trust as server; nil means the system's list.
func (s *Store) Roots() *x509.CertPool { return s.roots }

// read reads one bounded file.
func read(path string) ([]byte, fs.FileInfo, error) {
	text, info, err := durable.ReadRegular(path, maxFile)
	switch {
	case errors.Is(err, durable.ErrNotRegular):
		return nil, nil, fmt.Errorf("%s: want a file of PEM text", filepath.Base(path))
	case errors.Is(err, durable.ErrTooLarge):
		return nil, nil, fmt.Errorf("%s: want a file of PEM text of at most %d bytes", filepath.Base(path), maxFile)
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", filepath.Base(path), durable.Bare(err))
	}
	return text, info, nil
}

// certificates reads all certificates of a file, at least one.
func certificates(path string) ([]*x509.Certificate, error) {
	text, _, err := read(path)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: want certificates only, found %s", name, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", name, len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 || len(bytes.TrimSpace(text)) > 0 {
		return nil, fmt.Errorf("%s: want certificates as PEM text (-----BEGIN CERTIFICATE-----), found something else behind %d of them", name, len(all))
	}
	return all, nil
}

// othersAccess are the mode bits by which every user of the machine can read or write a file.
const othersAccess = 0o006

// privateKey reads the only key of a file, unless others can read it, too.
func privateKey(cfg Config) (crypto.Signer, error) {
	text, info, err := read(cfg.Key)
	if err != nil {
		return nil, err
	}
	name, mode := filepath.Base(cfg.Key), info.Mode().Perm()
	switch {
	case mode&othersAccess != 0 && !cfg.Exposed:
		return nil, fmt.Errorf("%s: %w: expected mode 0600, or 0640 with the agent's group, found %#o: chmod o-rwx it", name, keystore.ErrExposed, mode)
	case mode&0o077 != 0:
		cfg.Log.Warn("others on this machine can read the private key; chmod 600 it", "file", name, "mode", mode.String())
	}
	return parseKey(name, text)
}

// parseKey finds the private key in PEM text; name is that of its file.
func parseKey(name string, text []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, fmt.Errorf("%s: want a private key as PEM text (-----BEGIN PRIVATE KEY-----)", name)
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PARAMETERS": // openssl ecparam -genkey puts it before the key
			continue
		case "ENCRYPTED PRIVATE KEY":
			return nil, fmt.Errorf("%s: the key is encrypted; want it plain, or use a key store of hardware", name)
		default:
			return nil, fmt.Errorf("%s: want a private key, found %s", name, block.Type)
		}
		if err != nil || block.Headers["DEK-Info"] != "" {
			return nil, fmt.Errorf("%s: the private key is damaged, encrypted or of an unknown kind", name)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("%s: want a key that signs, found %T", name, key)
		}
		return signer, nil
	}
}
