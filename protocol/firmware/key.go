package firmware

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/veraison/go-cose"
)

// KeyID names a public key: the first 8 bytes of the SHA-256 of its PKIX form.
type KeyID [8]byte

// String gives 16 hexadecimal digits.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// Keys are the public keys whose updates are trusted. An empty Keys trusts nobody.
type Keys map[KeyID]*ecdsa.PublicKey

// ParseKeys reads the public keys of PEM files ("PUBLIC KEY", P-256), one or more in each.
func ParseKeys(files ...[]byte) (Keys, error) {
	keys := Keys{}
	for _, text := range files {
		found := len(keys)
		for {
			var block *pem.Block
			if block, text = pem.Decode(text); block == nil {
				break
			}
			if err := keys.add(block); err != nil {
				return nil, err
			}
		}
		if len(keys) == found {
			return nil, errors.New("update key: expected a new public key in PEM form in each file")
		}
	}
	return keys, nil
}

func (k Keys) add(block *pem.Block) error {
	if block.Type != "PUBLIC KEY" {
		return fmt.Errorf("update key: expected PEM of type PUBLIC KEY, found %.32s", block.Type)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("update key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return errors.New("update key: expected an ECDSA key of curve P-256")
	}
	id, err := keyID(key)
	if err != nil {
		return err
	}
	k[id] = key
	return nil
}

func keyID(key *ecdsa.PublicKey) (KeyID, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return KeyID{}, fmt.Errorf("update key: %w", err)
	}
	sum := sha256.Sum256(der)
	return KeyID(sum[:len(KeyID{})]), nil
}

// Verify returns nil when a trusted key signed the header, else ErrWrongKey or ErrSignature.
func (h *Header) Verify(keys Keys) error {
	key, ok := keys[h.Key]
	if !ok {
		return fmt.Errorf("key %s: %w", h.Key, ErrWrongKey)
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmES256, key)
	if err != nil {
		return fmt.Errorf("key %s: %w", h.Key, err)
	}
	message, err := h.message()
	if err != nil {
		return err
	}
	if message.Verify([]byte(external), verifier) != nil {
		return fmt.Errorf("key %s: %w", h.Key, ErrSignature)
	}
	return nil
}

// Sign writes an update file: the header for m, then the payload, which is read
// twice. m.Size and m.SHA256 are set from the payload. The key is one of curve
// P-256. With an *ecdsa.PrivateKey the file is the same at each call (RFC 6979).
func Sign(w io.Writer, m Manifest, payload io.ReadSeeker, key crypto.Signer) (*Header, error) {
	start, err := payload.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	digest := sha256.New()
	if m.Size, err = io.Copy(digest, payload); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	m.SHA256 = [32]byte(digest.Sum(nil))
	h, err := sign(m, key)
	if err != nil {
		return nil, err
	}
	head, err := h.Bytes()
	if err != nil {
		return nil, err
	}
	if _, err := payload.Seek(start, io.SeekStart); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if _, err := w.Write(head); err != nil {
		return nil, fmt.Errorf("write update file: %w", err)
	}
	digest.Reset()
	if _, err := io.Copy(io.MultiWriter(w, digest), payload); err != nil {
		return nil, fmt.Errorf("write update file: %w", err)
	}
	if [32]byte(digest.Sum(nil)) != m.SHA256 {
		return nil, errors.New("payload: changed while it was signed")
	}
	return h, nil
}

func sign(m Manifest, key crypto.Signer) (*Header, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("signing key: expected an ECDSA key of curve P-256")
	}
	id, err := keyID(public)
	if err != nil {
		return nil, err
	}
	h := &Header{Manifest: m, Key: id}
	message, err := h.message()
	if err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(cose.AlgorithmES256, hashing{key})
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	if err := message.Sign(rand.Reader, []byte(external), signer); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	h.signature = message.Signature
	return h, nil
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
