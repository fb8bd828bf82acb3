package signed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// KeyID names a public key: the first 8 bytes of the SHA-256 of its PKIX form.
type KeyID [8]byte

// String gives 16 hexadecimal digits.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// KeyOf names a key.
func KeyOf(key *ecdsa.PublicKey) (KeyID, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return KeyID{}, fmt.Errorf("public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return KeyID(sum[:len(KeyID{})]), nil
}

// Keys are the public keys whose signatures are trusted. An empty Keys trusts nobody.
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
				return nil, fmt.Errorf("public key: %w", err)
			}
		}
		if len(keys) == found {
			return nil, errors.New("public key: expected a new one in PEM form in each file")
		}
	}
	return keys, nil
}

func (k Keys) add(block *pem.Block) error {
	if block.Type != "PUBLIC KEY" {
		return fmt.Errorf("expected PEM of type PUBLIC KEY, found %.32s", block.Type)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return errors.New("expected an ECDSA key of curve P-256")
	}
	id, err := KeyOf(key)
	if err != nil {
		return err
	}
	k[id] = key
	return nil
}
