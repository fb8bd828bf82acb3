package signed

import (
	"crypto/elliptic"
	"crypto/sha256"
	"math/big"
)

// An ECDSA signature (r, s) has a twin that fits as well: (r, n-s), where n is the order of the curve. Anybody can
// make it. Sign gives the one with s ≤ n/2. Verify takes both, since Sign did not always do so. Who keeps messages
// tells them apart by Identity, which the two have in common.

// numberSize is the size of r and of s.
const numberSize = 32

// lowS gives the one of a signature and its twin whose s is at most n/2. What is no signature stays as it is.
func lowS(signature []byte) []byte {
	if len(signature) != 2*numberSize {
		return signature
	}
	n := elliptic.P256().Params().N
	s := new(big.Int).SetBytes(signature[numberSize:])
	other := new(big.Int).Sub(n, s)
	if other.Sign() <= 0 || other.Cmp(s) >= 0 {
		return signature
	}
	low := make([]byte, 2*numberSize)
	copy(low, signature[:numberSize])
	other.FillBytes(low[numberSize:])
	return low
}

// Identity is the SHA-256 of the message's bytes as Sign writes them: that of a message and of its
// twin is the same.
func (m *Message) Identity() ([32]byte, error) {
	canonical := Message{Key: m.Key, Content: m.Content, signature: lowS(m.signature)}
	data, err := canonical.Bytes()
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(data), nil
}
