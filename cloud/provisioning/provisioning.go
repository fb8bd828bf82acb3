// Package provisioning gives vehicles and operators their identities.
//
// For now it holds the development certificate authority: one key on the disk of
// the machine that runs the cloud, made at first start, so that a newcomer has
// mutual TLS without a ceremony. Every certificate names its holder in exactly one
// URI of the subject alternative name, and nowhere else; protocol/principal says how.
//
// The common name repeats the device id because some tools print it; it is never
// read back. Factory import, enrolment and rotation have their place here and come
// with real keys. The package is not a registry: whether a vehicle may connect
// today is asked through CA.Status.
package provisioning

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"telltale.dev/protocol/principal"
)

// ErrIdentity is wrapped by every error about a certificate that does not name
// its holder as this package expects.
var ErrIdentity = errors.New("certificate names no identity")

// ErrDamaged is wrapped when the files of the authority cannot be read as what
// they should be. They are never overwritten: certificates in the field hang on them.
var ErrDamaged = errors.New("certificate authority is damaged")

// CertificateHolder reads whom a certificate was issued to from its subject alternative name:
// exactly one URI, one that names a principal. The common name is never trusted. The error wraps
// ErrIdentity. The caller has verified the chain.
func CertificateHolder(cert *x509.Certificate) (principal.Principal, error) {
	if cert == nil {
		return principal.Principal{}, fmt.Errorf("no client certificate was sent: %w", ErrIdentity)
	}
	if n := len(cert.URIs); n != 1 {
		return principal.Principal{}, fmt.Errorf("certificate has %d URIs as alternative names, expected exactly one: %w", n, ErrIdentity)
	}
	holder, err := principal.Parse(cert.URIs[0].String())
	if err != nil {
		return principal.Principal{}, fmt.Errorf("%w: %w", err, ErrIdentity)
	}
	holder.Certificate = principal.Certificate{Fingerprint: sha256.Sum256(cert.Raw), NotAfter: cert.NotAfter.Unix()}
	return holder, nil
}
