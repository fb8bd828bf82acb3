package signed_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"fmt"
	"math/big"
	"testing"

	"telltale.dev/protocol/signed"
)

// twin gives the message whose signature is (r, n-s): the last 32 of its bytes are s.
func twin(data []byte) []byte {
	out := bytes.Clone(data)
	s := out[len(out)-32:]
	new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(s)).FillBytes(s)
	return out
}

// TestTwin: a signature is made with the lower s; the twin that anybody can make of it fits, as
// signatures of earlier versions do, but is no other message.
func TestTwin(t *testing.T) {
	key, keyPEM := newKey(t)
	keys, err := signed.ParseKeys(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	half := new(big.Int).Rsh(elliptic.P256().Params().N, 1)
	seen := map[[32]byte]bool{}
	for i := range 16 {
		var signer crypto.Signer = key
		if i%2 == 1 {
			signer = struct{ crypto.Signer }{key} // as one outside of memory, whose signatures are random
		}
		m, err := signed.Sign("letters/v1", fmt.Append(nil, "dear ", i), signer)
		if err != nil {
			t.Fatal(err)
		}
		low, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if s := new(big.Int).SetBytes(low[len(low)-32:]); s.Cmp(half) > 0 {
			t.Errorf("message %d: s is above n/2", i)
		}
		var identities [2][32]byte
		for k, data := range [][]byte{low, twin(low)} {
			m, err := signed.Parse(data)
			if err == nil {
				err = m.Verify("letters/v1", keys)
			}
			if err == nil {
				identities[k], err = m.Identity()
			}
			if again, _ := m.Bytes(); err != nil || !bytes.Equal(again, data) {
				t.Errorf("message %d, %d: got %v and %x, want what was read", i, k, err, again)
			}
		}
		if identities[0] != identities[1] || seen[identities[0]] {
			t.Errorf("message %d: got identities %x, want one of its own", i, identities)
		}
		seen[identities[0]] = true
	}
}
