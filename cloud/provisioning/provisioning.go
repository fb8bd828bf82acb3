// Package provisioning gives vehicles and operators their identities.
//
// For now it holds the development certificate authority: one key on the disk of
// the machine that runs the cloud, made at first start, so that a newcomer has
// mutual TLS without a ceremony. Every certificate names its holder in exactly one
// URI of the subject alternative name, and nowhere else:
//
//	urn:dev:{vid}:{did}   a telematics device of a vehicle
//	urn:ops:{name}        a person or program that operates the fleet
//
// The common name repeats the device id because some tools print it; it is never
// read back. Factory import, enrolment and rotation have their place here and come
// with real keys. The package is not a registry: whether a vehicle may connect
// today is asked through CA.Status.
package provisioning

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"telltale.dev/protocol"
)

// ErrIdentity is wrapped by every error about a certificate that does not name
// its holder as this package expects.
var ErrIdentity = errors.New("certificate names no identity")

// ErrDamaged is wrapped when the files of the authority cannot be read as what
// they should be. They are never overwritten: certificates in the field hang on them.
var ErrDamaged = errors.New("certificate authority is damaged")

const (
	devicePrefix   = "urn:dev:"
	operatorPrefix = "urn:ops:"
)

// Identity is who a certificate was issued to: a device (Vehicle and Device are
// set) or an operator (Operator is set), never both.
type Identity struct {
	Vehicle  protocol.VehicleID
	Device   protocol.DeviceID
	Operator string
}

// String writes the URI of the identity.
func (i Identity) String() string {
	if i.Operator != "" {
		return operatorPrefix + i.Operator
	}
	return devicePrefix + string(i.Vehicle) + ":" + string(i.Device)
}

// ParseIdentity reads what Identity.String writes and nothing else: no other case,
// no escapes, no query, no further parts. The error wraps ErrIdentity and does not
// repeat s.
func ParseIdentity(s string) (Identity, error) {
	if name, ok := strings.CutPrefix(s, operatorPrefix); ok {
		// Operators follow the same rules of spelling as devices.
		if _, err := protocol.ParseDeviceID(name); err != nil {
			return Identity{}, fmt.Errorf("operator name: %w: %w", err, ErrIdentity)
		}
		return Identity{Operator: name}, nil
	}
	vehicle, device, err := protocol.ParseDeviceURN(s)
	if err != nil {
		return Identity{}, fmt.Errorf("expected a URI %s{vid}:{did} or %s{name}: %w: %w", devicePrefix, operatorPrefix, err, ErrIdentity)
	}
	return Identity{Vehicle: vehicle, Device: device}, nil
}

// CertificateIdentity reads the identity from the subject alternative name of
// cert: exactly one URI, and that of this package. The common name is never
// trusted. The error wraps ErrIdentity. The caller has verified the chain.
func CertificateIdentity(cert *x509.Certificate) (Identity, error) {
	if cert == nil {
		return Identity{}, fmt.Errorf("no client certificate was sent: %w", ErrIdentity)
	}
	if n := len(cert.URIs); n != 1 {
		return Identity{}, fmt.Errorf("certificate has %d URIs as alternative names, expected exactly one: %w", n, ErrIdentity)
	}
	return ParseIdentity(cert.URIs[0].String())
}
