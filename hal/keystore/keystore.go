// Package keystore is the port to the device's private key.
//
// The key signs where it lives and never leaves. Drivers are sibling folders:
// file keeps it in a PEM file, for development; a TPM driver comes later.
// keystoretest is the suite that each driver passes. Enrolment and renewal of
// certificates are not its business.
package keystore

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// NotHardwareProtected is what Protection says of keys that a reader of the disk can copy.
const NotHardwareProtected = "NOT-HARDWARE-PROTECTED"

// ErrExposed says that others on the machine can read the private key, so that it may be known to anybody.
var ErrExposed = errors.New("others on this machine can read the private key")

// Signer is a private key with the certificate that goes with it. All methods
// may be called by any goroutine. Sign tolerates nil options for ECDSA and
// Ed25519 keys (as go-cose calls it).
type Signer interface {
	crypto.Signer
	// Chain gives the certificates: the key's own first, then those of its
	// issuers as far as they are to be sent. The caller must not change it.
	Chain() []*x509.Certificate
	// Protection names what guards the key, for logs and check-in; never empty.
	Protection() string
}

// resumptions is how many servers' sessions are kept: resuming one needs no signature.
const resumptions = 8

// TLSConfig is how a vehicle talks to the cloud: TLS 1.3, the server checked
// against roots (nil: those of the system) and serverName, and signer's certificate shown
// when the server asks for one. Each call has its own session cache.
func TLSConfig(signer Signer, roots *x509.CertPool, serverName string) (*tls.Config, error) {
	chain := signer.Chain()
	if len(chain) == 0 {
		return nil, errors.New("keystore: the signer has no certificate")
	}
	own := &tls.Certificate{PrivateKey: signer, Leaf: chain[0]}
	for _, c := range chain {
		own.Certificate = append(own.Certificate, c.Raw)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		RootCAs:            roots,
		ServerName:         serverName,
		ClientSessionCache: tls.NewLRUClientSessionCache(resumptions),
		// Without this Go sends no certificate at all, and no word about it, when the
		// server's list of issuers lacks ours.
		GetClientCertificate: func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if err := asked.SupportsCertificate(own); err != nil {
				return nil, fmt.Errorf("the server does not accept certificates of %q, which issued ours: %w", chain[0].Issuer.CommonName, err)
			}
			return own, nil
		},
	}, nil
}
