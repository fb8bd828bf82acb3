package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
	"telltale.dev/protocol/firmware"
)

// board makes a folder with a fresh boot state, slots of 1 MiB, the folder keys,
// and update files: good (release 5), older (release 3), wrong (of another key) and damaged: board DIR
func board(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Join(dir, "keys"), 0o700))
	ts.Check(os.WriteFile(filepath.Join(dir, "state"), uboot.EncodeState(slots.A), 0o600))
	for _, slot := range []string{"a", "b"} {
		ts.Check(errors.Join(os.WriteFile(filepath.Join(dir, slot), nil, 0o600), os.Truncate(filepath.Join(dir, slot), 1<<20)))
	}
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		ts.Check(err)
		keys[i] = key
	}
	der, err := x509.MarshalPKIXPublicKey(keys[0].Public())
	ts.Check(err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	ts.Check(os.WriteFile(filepath.Join(dir, "keys", "update.pem"), text, 0o600))
	for _, f := range []struct {
		name    string
		release uint64
		key     *ecdsa.PrivateKey
	}{{"good", 5, keys[0]}, {"older", 3, keys[0]}, {"wrong", 5, keys[1]}, {"damaged", 5, keys[0]}} {
		file, err := os.Create(filepath.Join(dir, f.name))
		ts.Check(err)
		m := firmware.Manifest{Board: "b1", Version: "v" + f.name, Release: f.release}
		h, err := firmware.Sign(file, m, strings.NewReader("the firmware "+f.name), f.key)
		ts.Check(err)
		if f.name == "damaged" {
			size, err := h.Size()
			ts.Check(err)
			_, err = file.WriteAt([]byte("X"), int64(size))
			ts.Check(err)
		}
		ts.Check(file.Close())
	}
}
