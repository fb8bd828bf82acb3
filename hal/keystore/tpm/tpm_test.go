package tpm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"telltale.dev/hal/keystore/tpm"
)

// device opens the TPM of a virtual machine, where there must be one, or the one that the user named.
func device(t *testing.T) transport.TPM {
	t.Helper()
	path := os.Getenv("TELLTALE_TPM")
	if path == "" && os.Getenv("TELLTALE_VM") != "1" {
		t.Skip("needs a TPM: run make test-vm, or name one in TELLTALE_TPM")
	}
	if path == "" {
		path = tpm.Device
	}
	chip, err := tpm.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chip.Close(); err != nil {
			t.Error(err)
		}
	})
	return chip
}

func TestRandom(t *testing.T) {
	chip := device(t)
	var seen [][]byte
	for range 4 {
		response, err := tpm2.GetRandom{BytesRequested: 32}.Execute(chip)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(response.RandomBytes.Buffer); n != 32 {
			t.Fatalf("got %d random bytes, want 32", n)
		}
		seen = append(seen, response.RandomBytes.Buffer)
	}
	for i := 1; i < len(seen); i++ {
		if bytes.Equal(seen[i-1], seen[i]) {
			t.Errorf("the same 32 random bytes twice: %x", seen[i])
		}
	}
}

// signingKey is a P-256 key that never leaves the TPM and costs no try of the
// dictionary-attack lockout.
var signingKey = tpm2.TPMTPublic{
	Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
		UserWithAuth: true, NoDA: true, SignEncrypt: true},
	Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		CurveID: tpm2.TPMECCNistP256,
		Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA,
			&tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})},
	}),
}

func TestCreateAndSign(t *testing.T) {
	chip := device(t)
	start := time.Now()
	created, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(signingKey)}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("P-256 key created in %v", time.Since(start))
	t.Cleanup(func() {
		if _, err := (tpm2.FlushContext{FlushHandle: created.ObjectHandle}).Execute(chip); err != nil {
			t.Error(err)
		}
	})
	key := publicKey(t, created.OutPublic)
	digest := sha256.Sum256([]byte("what a vehicle says"))
	start = time.Now()
	signed, err := tpm2.Sign{
		KeyHandle:  tpm2.NamedHandle{Handle: created.ObjectHandle, Name: created.Name},
		Digest:     tpm2.TPM2BDigest{Buffer: digest[:]},
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
	}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("signed in %v", time.Since(start))
	signature, err := signed.Signature.Signature.ECDSA()
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(signature.SignatureR.Buffer), new(big.Int).SetBytes(signature.SignatureS.Buffer)
	if !ecdsa.Verify(key, digest[:], r, s) {
		t.Error("the TPM's signature does not verify")
	}
	digest[0] ^= 1
	if ecdsa.Verify(key, digest[:], r, s) {
		t.Error("the TPM's signature verifies for another digest")
	}
}

func publicKey(t *testing.T, public tpm2.TPM2BPublic) *ecdsa.PublicKey {
	t.Helper()
	contents, err := public.Contents()
	if err != nil {
		t.Fatal(err)
	}
	point, err := contents.Unique.ECC()
	if err != nil {
		t.Fatal(err)
	}
	// Uncompressed form, SEC 1 clause 2.3.3. The TPM leaves out leading zeros.
	raw := make([]byte, 65)
	raw[0] = 4
	copy(raw[33-len(point.X.Buffer):33], point.X.Buffer)
	copy(raw[65-len(point.Y.Buffer):], point.Y.Buffer)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := tpm.Open(filepath.Join(dir, "none")); !errors.Is(err, tpm.ErrNoTPM) {
		t.Errorf("no device: got %v, want ErrNoTPM", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.Open(file); err == nil {
		t.Error("a file that is no device: got no error")
	}
}

// busy is a TPM that has no time for a number of commands.
type busy struct {
	rounds, sent int
}

func (b *busy) Send([]byte) ([]byte, error) {
	b.sent++
	if b.sent <= b.rounds {
		return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x22}, nil // TPM_RC_RETRY
	}
	return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0}, nil
}

func (b *busy) Close() error { return nil }

func TestRetry(t *testing.T) {
	for name, c := range map[string]struct {
		rounds, sent int
		last         byte
	}{
		"free":       {rounds: 0, sent: 1, last: 0},
		"busy":       {rounds: 3, sent: 4, last: 0},
		"stays busy": {rounds: 1000, sent: 8, last: 0x22},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := &busy{rounds: c.rounds}
				response, err := (&tpm.Retrier{TPM: chip}).Send([]byte("command"))
				if err != nil || response[9] != c.last || chip.sent != c.sent {
					t.Errorf("got %x, %v after %d commands; want code ending in %02x after %d", response, err, chip.sent, c.last, c.sent)
				}
			})
		})
	}
}
