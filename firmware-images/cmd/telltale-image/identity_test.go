package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/keystore/keystoretest"
)

// device writes a certificate with its key and authority, and gives the command that takes them.
func device(t *testing.T, urn string, end time.Time) identityCommand {
	t.Helper()
	dir, ca := t.TempDir(), keystoretest.NewCA(t, "Test Authority")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := ca.Device(t, urn, key.Public(), time.Now().Add(-48*time.Hour), end)
	return identityCommand{
		Disk: filepath.Join(dir, "disk.img"), Cert: write("device.crt", "CERTIFICATE", own.Raw), Key: write("device.key", "PRIVATE KEY", der),
		CA: write("ca.crt", "CERTIFICATE", ca.Certificate.Raw), Endpoint: []string{"cloud.example:8883"},
	}
}

// TestIdentityRefusals: what would not work on the device is not written to its disk.
func TestIdentityRefusals(t *testing.T) {
	now := time.Now()
	good, other := device(t, "urn:dev:veh-1:tcu-1", now.Add(time.Hour)), device(t, "urn:dev:veh-1:tcu-2", now.Add(time.Hour))
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*identityCommand){
		"device.key is not the key of device.crt":         func(c *identityCommand) { c.Key = other.Key },
		"none.key: no such file":                          func(c *identityCommand) { c.Key = "none.key" },
		"device.key: want certificates only":              func(c *identityCommand) { c.CA = c.Key },
		"--cert: ":                                        func(c *identityCommand) { *c = device(t, "urn:dev:nobody", now.Add(time.Hour)) },
		"device.crt: certificate has expired on ":         func(c *identityCommand) { *c = device(t, "urn:dev:veh-1:tcu-1", now.Add(-time.Hour)) },
		`--endpoint: expected HOST:PORT, found "cloud"`:   func(c *identityCommand) { c.Endpoint = []string{"cloud"} },
		`--endpoint: expected HOST:PORT, found "a b:1"`:   func(c *identityCommand) { c.Endpoint = []string{"a b:1"} },
		`--download: expected HOST:PORT, found "cloud:0"`: func(c *identityCommand) { c.Download = []string{"cloud:0"} },
	} {
		c := good
		change(&c)
		if err := c.Run(); err == nil || !strings.HasPrefix(err.Error(), "identity: "+want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
