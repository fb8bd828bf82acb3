package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// phaseError says what was being done when a connection failed.
type phaseError struct {
	phase string // connect, tls handshake, mqtt connect, connected
	err   error
}

func (e *phaseError) Error() string { return e.phase + ": " + e.err.Error() }
func (e *phaseError) Unwrap() error { return e.err }

// codeError is a reason code that the server gave in CONNACK or DISCONNECT.
type codeError struct {
	packet string
	code   byte
	text   string // the server's reason string
	other  string // the server's reference to another server
}

func (e *codeError) Error() string {
	s := fmt.Sprintf("%s: %s (0x%02x)", e.packet, CodeText(e.code), e.code)
	if e.text != "" {
		s += ": " + Printable(e.text)
	}
	if e.other != "" {
		s += ": it names " + Printable(e.other)
	}
	return s
}

// explain is Explain of an error without what became of our certificate.
func explain(err error, o *offer, now time.Time) (text, hint string) {
	var (
		dns      *net.DNSError
		code     *codeError
		certErr  *tls.CertificateVerificationError
		timedOut net.Error
		plain    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &plain):
		return "server does not speak TLS", "check the endpoint's port; of a broker without TLS write mqtt://HOST:PORT"
	case errors.As(err, &dns):
		return "server name is not resolved", "check the endpoint's name and the name server"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: nothing listens there", "check the endpoint's port and whether the server runs"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN):
		return "network is unreachable", "check the modem or the cable, and the routes: ip route"
	case errors.As(err, &code):
		return explainCode(code)
	case errors.As(err, &certErr):
		return explainCertificate(certErr.Err, now)
	case isAlert(err):
		return explainAlert(o)
	case errors.Is(err, errInboundSize), errors.Is(err, errMalformed), errors.Is(err, errReceiveMaximum), errors.Is(err, errDeliveryQoS),
		errors.Is(err, errAuth):
		return "server breaks the protocol", "check that an MQTT 5 server listens there"
	case errors.Is(err, errNoQoS):
		return errNoQoS.Error(), "the server must allow QoS 1"
	case errors.Is(err, errNoRetain):
		return errNoRetain.Error(), "the server must allow retained messages"
	case errors.Is(err, errSilent), errors.Is(err, ErrNoAnswer), errors.Is(err, errStuck):
		return "link is half-open or too slow", ""
	case errors.As(err, &timedOut) && timedOut.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time", "check the endpoint's address, the link, and firewalls between"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection was closed by the other side", cmp.Or(o.withheld(), "check that the endpoint is the broker's; its log says why")
	}
	return "connection failed", o.withheld()
}

func explainCode(e *codeError) (text, hint string) {
	text = "server refuses: " + CodeText(e.code)
	switch e.code {
	case CodeNotAuthorized, 0x86:
		return text, "the device is not registered or not active, or the certificate names another device"
	case 0x88, 0x89, CodeQuota, 0x9f:
		return text, "it goes by itself; trying again with back-off"
	case 0x8e:
		return text, "another agent runs with the same device id"
	case 0x9a:
		return text, "the server must allow retained messages"
	}
	return text, ""
}

// explainCertificate says what is wrong with the server's certificate.
func explainCertificate(err error, now time.Time) (text, hint string) {
	var (
		invalid   x509.CertificateInvalidError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		clock := "check the vehicle's clock: it says " + now.UTC().Format(time.DateTime) + " UTC"
		if invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
			return "server's certificate is not valid yet", clock + ", the certificate begins " + invalid.Cert.NotBefore.UTC().Format(time.DateTime)
		}
		if invalid.Cert != nil {
			clock += ", the certificate ended " + invalid.Cert.NotAfter.UTC().Format(time.DateTime)
		}
		return "server's certificate has expired", clock
	case errors.As(err, &authority):
		return "server's certificate is from an unknown authority", "check the trusted roots, and whether this is the right server"
	case errors.As(err, &host):
		return "server's certificate is for another name", "check the endpoint's name"
	}
	return "server's certificate is not accepted", ""
}

// isAlert says whether the other side ended TLS with an alert. Package tls keeps
// the type of the alert to itself, but marks the error so.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

func explainAlert(o *offer) (text, hint string) {
	if hint = o.withheld(); hint != "" {
		return "server wants a certificate that we did not send", hint
	}
	if o.wasSent() {
		return "our certificate was refused by the server", "noticed at the first read after the handshake; it may be expired, revoked or from an authority that the server does not know, or a clock is wrong"
	}
	return "server ended the TLS handshake", "check that both ends allow the same TLS versions"
}

// failure is why there is no connection, with what became of our certificate.
type failure struct {
	err   error
	offer *offer
}

func (e *failure) Error() string { return e.err.Error() }
func (e *failure) Unwrap() error { return e.err }

// Explain says in the words of the person who has to act why Connect failed or a session ended. The
// text names the kind of failure and is the same for each of a kind, so that it can be logged when it changes; hint
// is what to look at, or "". now is the vehicle's time, which may be why a certificate is refused.
func Explain(err error, now time.Time) (text, hint string) {
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{err: err, offer: &offer{}}
	}
	return explain(f.err, f.offer, now)
}

// Printable makes a server's text fit for a log: one line, at most 128 bytes.
func Printable(s string) string {
	const most = 128
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s[:min(len(s), most)])
	return s
}
