package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telltale.dev/hal/keystore/keystoretest"
)

// identity is a device's folder with certificate, key and authority.
type identity struct {
	dir string
	ca  *keystoretest.CA
}

// newIdentity makes one whose certificate is valid between two times.
func newIdentity(t *testing.T, start, end time.Time) identity {
	t.Helper()
	id := identity{dir: t.TempDir(), ca: keystoretest.NewCA(t, "Test Authority")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	own := id.ca.Device(t, "urn:dev:veh-1:tcu-1", key.Public(), start, end)
	id.write(t, "device.crt", "CERTIFICATE", own.Raw)
	id.write(t, "device.key", "PRIVATE KEY", der)
	id.write(t, "ca.crt", "CERTIFICATE", id.ca.Certificate.Raw)
	return id
}

func (id identity) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(id.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (id identity) path(name string) string { return filepath.Join(id.dir, name) }

// flags are those of the command line.
func (id identity) flags() []string {
	return []string{"--cert", id.path("device.crt"), "--key", id.path("device.key"), "--ca", id.path("ca.crt")}
}
