// Package signed writes, reads and verifies what is signed: a COSE_Sign1 (RFC 9052, 4.2) by
// ES256 whose protected header names the key. What kind of content a signature is for is
// said by its context, the external data of RFC 9052, 4.4, so that a signature for one kind
// is none for another.
//
// The package knows neither what the content means nor which key may sign what.
package signed

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/veraison/go-cose"
)

// Errors that callers branch on. They are wrapped by errors that say more.
var (
	// ErrMalformed says that bytes are no COSE_Sign1 of the one form that this package writes.
	ErrMalformed = errors.New("not a signed message")
	// ErrWrongKey says that no trusted key has the key id of the signature.
	ErrWrongKey = errors.New("not signed by a trusted key")
	// ErrSignature says that the signature does not fit the content, though its key is trusted.
	ErrSignature = errors.New("signature does not fit")
)

// Message is signed content. What it says is to be believed only after Verify.
type Message struct {
	Key       KeyID
	Content   []byte
	signature []byte
}

// Sign signs content for a context. The key is one of curve P-256; with an
// *ecdsa.PrivateKey the signature is the same at each call (RFC 6979).
func Sign(context string, content []byte, key crypto.Signer) (*Message, error) {
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("signing key: expected an ECDSA key of curve P-256")
	}
	id, err := KeyOf(public)
	if err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(cose.AlgorithmES256, hashing{key})
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	m := &Message{Key: id, Content: content}
	wire := m.wire()
	if err := wire.Sign(rand.Reader, []byte(context), signer); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	m.signature = lowS(wire.Signature)
	return m, nil
}

// Parse reads what Bytes writes, and no other form of it, so that one signed message has
// one file only, or two: see Identity. The error wraps ErrMalformed.
func Parse(data []byte) (*Message, error) {
	wire := cose.NewSign1Message()
	if err := wire.UnmarshalCBOR(data); err != nil {
		return nil, fmt.Errorf("expected a COSE_Sign1: %w", ErrMalformed)
	}
	kid, _ := wire.Headers.Protected[cose.HeaderLabelKeyID].([]byte)
	m := &Message{Content: wire.Payload, signature: wire.Signature}
	if len(kid) != len(m.Key) {
		return nil, fmt.Errorf("key id: expected %d bytes: %w", len(m.Key), ErrMalformed)
	}
	copy(m.Key[:], kid)
	if again, err := m.Bytes(); err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("expected deterministic CBOR without further fields: %w", ErrMalformed)
	}
	return m, nil
}

// Verify returns nil when a trusted key signed the message for this context, else
// ErrWrongKey or ErrSignature.
func (m *Message) Verify(context string, keys Keys) error {
	key, ok := keys[m.Key]
	if !ok {
		return fmt.Errorf("key %s: %w", m.Key, ErrWrongKey)
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmES256, key)
	if err != nil {
		return fmt.Errorf("key %s: %w", m.Key, err)
	}
	if m.wire().Verify([]byte(context), verifier) != nil {
		return fmt.Errorf("key %s: %w", m.Key, ErrSignature)
	}
	return nil
}

// Bytes gives the COSE_Sign1, as deterministic CBOR.
func (m *Message) Bytes() ([]byte, error) {
	data, err := m.wire().MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("write signed message: %w", err)
	}
	return data, nil
}

func (m *Message) wire() *cose.Sign1Message {
	wire := cose.NewSign1Message()
	wire.Headers.Protected.SetAlgorithm(cose.AlgorithmES256)
	wire.Headers.Protected[cose.HeaderLabelKeyID] = m.Key[:]
	wire.Payload, wire.Signature = m.Content, m.signature
	return wire
}

// hashing names the hash to a signer, which go-cose does not, and takes the
// randomness from keys in memory, whose signatures are then deterministic.
type hashing struct{ crypto.Signer }

// Sign implements crypto.Signer.
func (s hashing) Sign(random io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	if _, ok := s.Signer.(*ecdsa.PrivateKey); ok {
		random = nil
	}
	return s.Signer.Sign(random, digest, crypto.SHA256)
}
