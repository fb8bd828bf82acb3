package image

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"telltale.dev/protocol/signed"
)

// Names of the key files in the key folder.
const (
	slotKey   = "firmware" // .key and .crt: RSA, signs what a slot holds; U-Boot has the public part
	updateKey = "update"   // .key and .pub: ECDSA P-256, signs update files; the agent has the public part
)

// slotKeyBits is the size of the slots' RSA key. RSA with PKCS #1 v1.5 gives
// the same signature each time; U-Boot's ECDSA would not.
const slotKeyBits = 3072

// keys names the files of a key folder.
type keys struct{ dir string }

// openKeys gives the keys of a folder, and makes development keys where there are none.
func openKeys(dir string) (keys, error) {
	k := keys{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return k, fmt.Errorf("keys: %w", err)
	}
	for _, make := range []struct {
		file string
		how  func(keys) error
	}{{slotKey + ".key", keys.makeSlotKey}, {updateKey + ".key", keys.makeUpdateKey}} {
		_, err := os.Stat(filepath.Join(dir, make.file))
		if errors.Is(err, fs.ErrNotExist) {
			err = make.how(k)
		}
		if err != nil {
			return k, fmt.Errorf("keys: %w", err)
		}
	}
	if err := k.check(); err != nil {
		return k, fmt.Errorf("keys: %w", err)
	}
	return k, nil
}

// check finds keys that would make firmware which no device takes.
func (k keys) check() error {
	pair, err := tls.LoadX509KeyPair(k.path(slotKey+".crt"), k.path(slotKey+".key"))
	if err != nil {
		return fmt.Errorf("%s.key with its certificate %s.crt: %w", slotKey, slotKey, err)
	}
	if key, ok := pair.PrivateKey.(*rsa.PrivateKey); !ok || key.N.BitLen() != slotKeyBits {
		return fmt.Errorf("%s.key: expected an RSA key of %d bits", slotKey, slotKeyBits)
	}
	key, err := readUpdateKey(k.path(updateKey + ".key"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(k.path(updateKey + ".pub"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s.pub: expected a public key (PEM)", updateKey)
	}
	if public, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil || !key.PublicKey.Equal(public) {
		return fmt.Errorf("%s.pub: expected the public key of %s.key", updateKey, updateKey)
	}
	return nil
}

func (k keys) path(name string) string { return filepath.Join(k.dir, name) }

// makeSlotKey makes the key with the certificate that mkimage reads the public part from.
func (k keys) makeSlotKey() error {
	key, err := rsa.GenerateKey(rand.Reader, slotKeyBits)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "telltale development firmware"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // U-Boot looks at the key only
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if err := writePEM(k.path(slotKey+".crt"), "CERTIFICATE", cert, 0o644); err != nil {
		return err
	}
	return writeKey(k.path(slotKey+".key"), key)
}

func (k keys) makeUpdateKey() error {
	private, public, err := signed.GenerateKey()
	if err != nil {
		return err
	}
	if err := os.WriteFile(k.path(updateKey+".pub"), public, 0o644); err != nil {
		return err
	}
	return os.WriteFile(k.path(updateKey+".key"), private, 0o600)
}

func writeKey(path string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "PRIVATE KEY", der, 0o600)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
