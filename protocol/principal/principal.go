// Package principal names who acts: the one answer to "who is this?" that the broker, the download
// server, the HTTP API and the access table share.
//
// A principal is named by exactly one URI of its certificate's subject alternative name:
//
//	urn:dev:{vid}:{did}   a telematics device of a vehicle
//	urn:ops:{name}        a person or program that operates the fleet
//	urn:svc:{name}        a digital service beside the cloud
//
// It says nothing about what a principal may do; that is a table of the cloud. It reads no
// certificate and knows no registry: whether a device may take part today is asked elsewhere.
package principal

import (
	"errors"
	"fmt"
	"strings"

	"telltale.dev/protocol"
)

// ErrName is wrapped by every error about a URI that names no principal.
var ErrName = errors.New("names no principal")

// Kind says what a principal is. The zero Kind is unknown, and may do nothing. Append-only.
type Kind uint8

// The kinds.
const (
	Unknown  Kind = iota
	Device        // a telematics device of a vehicle
	Operator      // a person or program of fleet operations
	Service       // a digital service, which acts for nobody's vehicle in particular
	Local         // whoever uses the HTTP API on the machine of the cloud, where nobody is asked for a name
)

// String gives the word of a kind, as tables and logs have it.
func (k Kind) String() string {
	switch k {
	case Device:
		return "device"
	case Operator:
		return "operator"
	case Service:
		return "service"
	case Local:
		return "local"
	}
	return "unknown"
}

// Principal is who acts. Values are comparable; two of the same holder with different certificates
// differ, Same tells that they are one. The zero Principal is nobody.
type Principal struct {
	Kind    Kind
	Vehicle protocol.VehicleID // of a Device
	Device  protocol.DeviceID  // of a Device
	Name    string             // of an Operator or a Service

	Certificate Certificate // what has proved it; zero: nothing, as for Local
}

// Certificate is what of a certificate matters after it was verified.
type Certificate struct {
	Fingerprint [32]byte // SHA-256 of the certificate in DER, by which it can be listed and revoked
	NotAfter    int64    // Unix seconds: the last at which it is good
}

// Same says whether two principals are the same holder, whatever the certificate.
func (p Principal) Same(other Principal) bool {
	p.Certificate, other.Certificate = Certificate{}, Certificate{}
	return p == other
}

// Beginnings of the URIs.
const (
	devicePrefix   = "urn:dev:"
	operatorPrefix = "urn:ops:"
	servicePrefix  = "urn:svc:"
)

// OfDevice is a device of a vehicle.
func OfDevice(vid protocol.VehicleID, did protocol.DeviceID) Principal {
	return Principal{Kind: Device, Vehicle: vid, Device: did}
}

// OfOperator is an operator by name.
func OfOperator(name string) Principal { return Principal{Kind: Operator, Name: name} }

// URI writes the name of a principal as certificates have it; empty for kinds without one.
func (p Principal) URI() string {
	switch p.Kind {
	case Device:
		return devicePrefix + string(p.Vehicle) + ":" + string(p.Device)
	case Operator:
		return operatorPrefix + p.Name
	case Service:
		return servicePrefix + p.Name
	}
	return ""
}

// Parse reads what URI writes and nothing else: no other case, no escapes, no query, no further
// parts. The error wraps ErrName and does not repeat s.
func Parse(s string) (Principal, error) {
	for prefix, kind := range map[string]Kind{operatorPrefix: Operator, servicePrefix: Service} {
		name, ok := strings.CutPrefix(s, prefix)
		if !ok {
			continue
		}
		// Names follow the same rules of spelling as devices.
		if _, err := protocol.ParseDeviceID(name); err != nil {
			return Principal{}, fmt.Errorf("%s name: %w: %w", kind, err, ErrName)
		}
		return Principal{Kind: kind, Name: name}, nil
	}
	vid, did, err := protocol.ParseDeviceURN(s)
	if err != nil {
		return Principal{}, fmt.Errorf("expected a URI %s{vid}:{did}, %s{name} or %s{name}: %w: %w",
			devicePrefix, operatorPrefix, servicePrefix, err, ErrName)
	}
	return OfDevice(vid, did), nil
}
