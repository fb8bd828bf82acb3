package provisioning

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol/principal"
)

// authorityFile holds certificate and private key of the authority in one file, so
// that no crash leaves one without the other. Mode 0600.
const authorityFile = "development-ca.pem"

const (
	authorityYears = 20
	// backdate makes a fresh certificate good for a vehicle whose clock is a little behind.
	backdate = time.Hour
	// maxAuthorityFile bounds what is read from disk, in bytes.
	maxAuthorityFile = 64 << 10

	typeCertificate = "CERTIFICATE"
	typeKey         = "PRIVATE KEY"
)

// CA is a development certificate authority (ECDSA P-256). Methods may be called
// from several goroutines once Status is set.
type CA struct {
	// Status says whether a holder may connect now; an error refuses the TLS
	// handshake, on resumed sessions too. Nil accepts every certificate of the
	// authority. Set it before ServerTLS.
	Status func(principal.Principal) error

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte // the certificate
}

// Credentials are what a device or operator connects with, all PEM. KeyPEM is secret.
type Credentials struct {
	CertPEM, KeyPEM, CAPEM []byte
}

// OpenCA opens the authority of a data directory, and makes both at first start.
// Several processes may do so at once; they end with the same authority. A file
// that is there but unreadable is reported (ErrDamaged) and left as it is.
func OpenCA(dir string) (*CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", withoutPath(err))
	}
	path := filepath.Join(dir, authorityFile)
	ca, err := loadCA(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return ca, err
	}
	if err := createCA(dir, path); err != nil {
		return nil, fmt.Errorf("making the certificate authority: %w", withoutPath(err))
	}
	return loadCA(path)
}

// CertPEM is the certificate of the authority, which clients need to verify the broker.
func (ca *CA) CertPEM() []byte { return append([]byte(nil), ca.pem...) }

func loadCA(path string) (*CA, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", authorityFile, withoutPath(err))
	}
	if info.Size() > maxAuthorityFile {
		return nil, fmt.Errorf("%s has %d bytes, expected at most %d: %w", authorityFile, info.Size(), maxAuthorityFile, ErrDamaged)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", authorityFile, withoutPath(err))
	}
	ca, err := parseCA(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; restore it from a backup, or remove it and issue every certificate again", authorityFile, err)
	}
	return ca, nil
}

// parseCA reads a certificate block followed by its private key.
func parseCA(text []byte) (*CA, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != typeCertificate {
		return nil, fmt.Errorf("expected a PEM block %s first: %w", typeCertificate, ErrDamaged)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w: %w", err, ErrDamaged)
	}
	keyBlock, _ := pem.Decode(rest)
	if keyBlock == nil || keyBlock.Type != typeKey {
		return nil, fmt.Errorf("expected a PEM block %s second: %w", typeKey, ErrDamaged)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("private key is unreadable: %w", ErrDamaged)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	switch {
	case !ok:
		return nil, fmt.Errorf("private key is a %T, expected ECDSA: %w", parsed, ErrDamaged)
	case !key.PublicKey.Equal(certificate.PublicKey):
		return nil, fmt.Errorf("private key does not belong to the certificate: %w", ErrDamaged)
	case !certificate.IsCA:
		return nil, fmt.Errorf("certificate is not one of an authority: %w", ErrDamaged)
	}
	return &CA{certificate: certificate, key: key, pem: pem.EncodeToMemory(block)}, nil
}

// createCA writes a new authority to path, all or nothing. When another process
// was faster its file stays.
func createCA(dir, path string) error {
	text, err := newAuthority()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces what is there.
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncFolder(dir)
}

// newAuthority makes a key and its self-signed certificate, as PEM.
func newAuthority() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate("Telltale development CA", authorityYears*365*24*time.Hour)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.MaxPathLenZero = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return encode(der, key)
}

// newTemplate is a certificate with a random serial number, valid from a little before now.
func newTemplate(commonName string, validity time.Duration) (*x509.Certificate, error) {
	// RFC 5280, 4.1.2.2: positive, at most 20 octets; CA/B baseline: at least 64 random bits.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(validity),
	}, nil
}

// encode writes certificate and key as PEM, one after the other.
func encode(der []byte, key *ecdsa.PrivateKey) ([]byte, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: der})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: pkcs8})...), nil
}

// withoutPath takes the directory out of an error: error texts end up in reports.
func withoutPath(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return fmt.Errorf("%s %s: %w", pathError.Op, filepath.Base(pathError.Path), pathError.Err)
	}
	var linkError *os.LinkError
	if errors.As(err, &linkError) {
		return fmt.Errorf("%s %s: %w", linkError.Op, filepath.Base(linkError.New), linkError.Err)
	}
	return err
}
