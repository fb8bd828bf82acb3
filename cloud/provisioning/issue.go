package provisioning

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
)

// serverValidity is the life of the broker's certificate, which is made anew at each start.
const serverValidity = 2 * 365 * 24 * time.Hour

// IssueDevice makes a key and a client certificate for a device, good for
// validity from now. Errors wrap protocol.ErrID for a malformed identifier.
func (ca *CA) IssueDevice(vid protocol.VehicleID, did protocol.DeviceID, validity time.Duration) (Credentials, error) {
	if _, err := protocol.ParseVehicleID(string(vid)); err != nil {
		return Credentials{}, fmt.Errorf("issuing a device certificate: %w", err)
	}
	if _, err := protocol.ParseDeviceID(string(did)); err != nil {
		return Credentials{}, fmt.Errorf("issuing a device certificate: %w", err)
	}
	return ca.issue(principal.OfDevice(vid, did), string(did), validity)
}

// IssueOperator makes a key and a client certificate for an operator, named by the
// same rules as a device, good for validity from now.
func (ca *CA) IssueOperator(name string, validity time.Duration) (Credentials, error) {
	operator := principal.OfOperator(name)
	if _, err := principal.Parse(operator.URI()); err != nil {
		return Credentials{}, fmt.Errorf("issuing an operator certificate: %w: %w", err, ErrIdentity)
	}
	return ca.issue(operator, name, validity)
}

func (ca *CA) issue(holder principal.Principal, commonName string, validity time.Duration) (Credentials, error) {
	if validity <= 0 {
		return Credentials{}, fmt.Errorf("issuing a certificate: validity is %v, expected more than zero", validity)
	}
	template, err := newTemplate(commonName, validity)
	if err != nil {
		return Credentials{}, fmt.Errorf("issuing a certificate: %w", err)
	}
	uri, err := url.Parse(holder.URI())
	if err != nil {
		return Credentials{}, fmt.Errorf("issuing a certificate: %w", err)
	}
	template.URIs = []*url.URL{uri}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, key, err := ca.sign(template)
	if err != nil {
		return Credentials{}, fmt.Errorf("issuing a certificate: %w", err)
	}
	text, err := encode(der, key)
	if err != nil {
		return Credentials{}, fmt.Errorf("issuing a certificate: %w", err)
	}
	block, keyPEM := pem.Decode(text)
	return Credentials{CertPEM: pem.EncodeToMemory(block), KeyPEM: keyPEM, CAPEM: ca.CertPEM()}, nil
}

// sign makes a key and a certificate for it; it shortens the validity to that of the authority.
func (ca *CA) sign(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.NotAfter.After(ca.certificate.NotAfter) {
		template.NotAfter = ca.certificate.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, &key.PublicKey, ca.key)
	return der, key, err
}

// ServerTLS is the TLS side of the broker: a fresh certificate for localhost,
// 127.0.0.1, ::1 and the names given (host names or addresses), TLS 1.3 preferred
// and 1.2 accepted without CBC, and a client certificate of this authority required. The
// identity and CA.Status are checked at every handshake, resumed ones included
// (crypto/tls calls VerifyPeerCertificate only for full handshakes).
func (ca *CA) ServerTLS(names []string) (*tls.Config, error) {
	template, err := newTemplate("Telltale broker", serverValidity)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range append([]string{"localhost", "127.0.0.1", "::1"}, names...) {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, key, err := ca.sign(template)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca.certificate)
	status := ca.Status
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Of TLS 1.2 what our ECDSA key can do with authenticated encryption and forward
		// secrecy, nothing in CBC mode (RFC 9325, section 4.2). TLS 1.3 has nothing else.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verify(state, status)
		},
	}, nil
}

// verify refuses a client whose certificate names no identity, or one that may not connect now.
func verify(state tls.ConnectionState, status func(principal.Principal) error) error {
	if len(state.PeerCertificates) == 0 {
		return fmt.Errorf("no client certificate was sent: %w", ErrIdentity)
	}
	holder, err := CertificateHolder(state.PeerCertificates[0])
	if err != nil || status == nil {
		return err
	}
	return status(holder)
}
