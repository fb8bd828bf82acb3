package image_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/firmware-images/image"
)

// TestKeys: keys that do not fit are found before anything is built.
func TestKeys(t *testing.T) {
	dir := t.TempDir()
	if err := image.CheckKeys(dir); err != nil {
		t.Fatalf("development keys: %v", err)
	}
	other := t.TempDir()
	if err := image.CheckKeys(other); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ file, from, want string }{
		{"firmware.key", filepath.Join(dir, "update.key"), "keys: firmware.key with its certificate firmware.crt: "},
		{"firmware.crt", filepath.Join(other, "firmware.crt"), "keys: firmware.key with its certificate firmware.crt: "},
		{"firmware.crt", "", "keys: firmware.key with its certificate firmware.crt: open "},
		{"update.key", filepath.Join(dir, "firmware.key"), "keys: "},
		{"update.pub", filepath.Join(other, "update.pub"), "keys: update.pub: expected the public key of update.key"},
		{"update.pub", filepath.Join(dir, "firmware.crt"), "keys: update.pub: expected the public key of update.key"},
	} {
		path := filepath.Join(dir, test.file)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if test.from == "" {
			err = os.Remove(path)
		} else if data, readErr := os.ReadFile(test.from); readErr == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := image.CheckKeys(dir); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s from %s: got %v, want %s", test.file, filepath.Base(test.from), err, test.want)
		}
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
