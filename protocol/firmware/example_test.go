package firmware_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"strings"

	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

// Who builds firmware signs it; a device that trusts the key reads the payload.
func Example() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	var file bytes.Buffer
	m := firmware.Manifest{Board: "qemu-arm64", Version: "2.0", Release: 8}
	if _, err := firmware.Sign(&file, m, strings.NewReader("kernel and file system"), key); err != nil {
		panic(err)
	}

	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	keys, err := signed.ParseKeys(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	if err != nil {
		panic(err)
	}
	update, err := firmware.Open(&file, firmware.Policy{Keys: keys, Board: "qemu-arm64", Release: 7})
	if err != nil {
		panic(err)
	}
	payload, err := io.ReadAll(update.Payload())
	fmt.Println(update.Header.Manifest.Version, string(payload), err)

	_, err = firmware.Open(bytes.NewReader([]byte("something else")), firmware.Policy{Keys: keys})
	fmt.Println(err)
	// Output:
	// 2.0 kernel and file system <nil>
	// magic: expected "TELLTALE": not an update file
}
