package signed_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"telltale.dev/protocol/signed"
)

// newKey gives a key and its public half in PEM form.
func newKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	private, public, err := signed.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signed.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

// sign gives a signed message as bytes.
func sign(t testing.TB, context, content string, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	m, err := signed.Sign(context, []byte(content), key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestVerify(t *testing.T) {
	key, keyPEM := newKey(t)
	stranger, _ := newKey(t)
	keys, err := signed.ParseKeys(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, "letters/v1", "dear", key)
	if again := sign(t, "letters/v1", "dear", key); !bytes.Equal(again, good) {
		t.Error("the same content has two signatures by a key in memory")
	}
	tampered := bytes.Replace(good, []byte("dear"), []byte("deer"), 1)
	for name, c := range map[string]struct {
		data    []byte
		context string
		keys    signed.Keys
		want    error
	}{
		"good":            {good, "letters/v1", keys, nil},
		"another context": {good, "letters/v2", keys, signed.ErrSignature},
		"no context":      {good, "", keys, signed.ErrSignature},
		"other content":   {tampered, "letters/v1", keys, signed.ErrSignature},
		"a stranger's":    {sign(t, "letters/v1", "dear", stranger), "letters/v1", keys, signed.ErrWrongKey},
		"nobody trusted":  {good, "letters/v1", nil, signed.ErrWrongKey},
	} {
		m, err := signed.Parse(c.data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := m.Verify(c.context, c.keys); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// TestOneForm: no bit of a message can be changed, left out or added without it being refused.
func TestOneForm(t *testing.T) {
	key, keyPEM := newKey(t)
	keys, err := signed.ParseKeys(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, "letters/v1", "dear", key)
	refused := func(data []byte) bool {
		m, err := signed.Parse(data)
		return err != nil || m.Verify("letters/v1", keys) != nil
	}
	for i := range good {
		for bit := range 8 {
			data := bytes.Clone(good)
			data[i] ^= 1 << bit
			if !refused(data) {
				t.Errorf("byte %d, bit %d: the changed message is taken", i, bit)
			}
		}
		if !refused(good[:i]) {
			t.Errorf("the first %d bytes are taken for the message", i)
		}
	}
	if !refused(append(bytes.Clone(good), 0)) {
		t.Error("a byte that follows is taken")
	}
}

// TestPrivateKeys: what GenerateKey makes is read back, and its halves fit; what is no such key is refused in words that hold nothing of it.
func TestPrivateKeys(t *testing.T) {
	private, public, err := signed.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signed.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := signed.ParseKeys(public)
	if err != nil {
		t.Fatal(err)
	}
	id, err := signed.KeyOf(&key.PublicKey)
	if err != nil || !key.PublicKey.Equal(keys[id]) {
		t.Errorf("the halves do not fit: %v", err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := signed.ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})); err != nil || !again.Equal(key) {
		t.Errorf("SEC 1: got %v", err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "a public key": public,
		"bad DER":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1, 2}}),
		"other curve": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	} {
		if key, err := signed.ParsePrivateKey(text); err == nil || !strings.HasPrefix(err.Error(), "expected ") {
			t.Errorf("%s: got %v, %v", name, key, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Sign("letters/v1", nil, key); err == nil || !strings.Contains(err.Error(), "curve P-256") {
		t.Errorf("got %v, want that the curve is another one", err)
	}
}

func TestParseKeysRefuses(t *testing.T) {
	_, good := newKey(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(p384.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"nothing":     nil,
		"text":        []byte("hello"),
		"private key": []byte(strings.ReplaceAll(string(good), "PUBLIC", "EC PRIVATE")),
		"bad DER":     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1, 2}}),
		"other curve": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	} {
		if keys, err := signed.ParseKeys(text); err == nil || !strings.HasPrefix(err.Error(), "public key: ") {
			t.Errorf("%s: got %v, %v", name, keys, err)
		}
	}
}

// FuzzParse: what is accepted is written back as the same bytes.
func FuzzParse(f *testing.F) {
	key, _ := newKey(f)
	f.Add(sign(f, "letters/v1", "dear", key))
	f.Add([]byte("\xd2\x84\x40\xa0\x40"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := signed.Parse(data)
		if err != nil {
			return
		}
		if again, err := m.Bytes(); err != nil || !bytes.Equal(data, again) {
			t.Errorf("got %x, %v; want %x", again, err, data)
		}
		if m.Verify("letters/v1", nil) == nil {
			t.Error("nobody is trusted, and yet the message was verified")
		}
	})
}
